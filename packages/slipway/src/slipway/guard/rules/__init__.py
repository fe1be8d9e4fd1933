"""The catalogue; to import it registers all rules."""

from slipway.guard.rule import RULES
from slipway.guard.rules import compatibility, data, hygiene, locks, rewrites

__all__ = ["RULES", "compatibility", "data", "hygiene", "locks", "rewrites"]
