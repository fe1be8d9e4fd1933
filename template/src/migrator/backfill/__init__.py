"""Changes many rows while they are read and written: in batches, each a short transaction."""

from migrator.backfill.definition import Backfill, BackfillError, Rows
from migrator.backfill.throttle import Limits
from migrator.backfill.walk import run

__all__ = ["Backfill", "BackfillError", "Limits", "Rows", "run"]
