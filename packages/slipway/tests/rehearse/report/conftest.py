"""A real browser for the page."""

from packages.slipway.tests.browser import browser

__all__ = ["browser"]
