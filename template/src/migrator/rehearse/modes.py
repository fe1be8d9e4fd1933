"""PostgreSQL's locks on tables and whom they make wait (manual, 13.3 Explicit Locking)."""

import re

# From the weakest to the strongest.
MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
SHARE_UPDATE_EXCLUSIVE, ACCESS_EXCLUSIVE = MODES[3], MODES[7]


def rank(mode: str) -> int:
    return MODES.index(mode)


def is_strong(mode: str) -> bool:
    """Whether reads or writes wait for it."""
    return rank(mode) >= rank("SHARE")


def blocked(mode: str) -> str:
    """What waits for a strong lock."""
    return "reads and writes" if mode == ACCESS_EXCLUSIVE else "writes"


def from_catalogue(mode: str) -> str:
    """The name in the manual of what `pg_locks` calls `ShareRowExclusiveLock`."""
    return re.sub(r"\B(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()
