"""Changes many rows while they are read and written: in batches, each a short transaction."""

from slipway.backfill.definition import Backfill, BackfillError, Rows
from slipway.backfill.throttle import Limits
from slipway.backfill.walk import run

__all__ = ["Backfill", "BackfillError", "Limits", "Rows", "run"]
