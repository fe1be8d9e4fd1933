"""The catalogue; to import it registers all rules."""

from slipway.guard.rules import compatibility, data, hygiene, locks, rewrites

__all__ = ["compatibility", "data", "hygiene", "locks", "rewrites"]
