"""The eight locks of a table, by who has to wait for them (PostgreSQL manual, 13.3.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Waiting = Literal["nobody", "writers", "everybody"]


@dataclass(frozen=True)
class Mode:
    name: str
    taken_by: str
    waiting: Waiting
    blocks: str

    @property
    def blocks_requests(self) -> bool:
        return self.waiting != "nobody"


# From the weakest to the strongest.
MODES = (
    Mode(
        "ACCESS SHARE",
        "SELECT",
        "nobody",
        "Reads and writes go on; the table cannot be dropped or altered meanwhile.",
    ),
    Mode(
        "ROW SHARE",
        "SELECT FOR UPDATE, the other table of a foreign key",
        "nobody",
        "Reads and writes go on, but for the same rows.",
    ),
    Mode(
        "ROW EXCLUSIVE",
        "INSERT, UPDATE, DELETE",
        "nobody",
        "Reads and writes go on, but for the same rows; no index can be built in the plain way.",
    ),
    Mode(
        "SHARE UPDATE EXCLUSIVE",
        "CREATE INDEX CONCURRENTLY, VALIDATE CONSTRAINT, VACUUM",
        "nobody",
        "Reads and writes go on; a second change of the table's schema waits.",
    ),
    Mode("SHARE", "CREATE INDEX", "writers", "Reads go on; every write waits."),
    Mode(
        "SHARE ROW EXCLUSIVE",
        "ADD FOREIGN KEY, CREATE TRIGGER",
        "writers",
        "Reads go on; every write waits.",
    ),
    Mode(
        "EXCLUSIVE",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY",
        "writers",
        "Plain reads go on; every write and every SELECT FOR UPDATE waits.",
    ),
    Mode(
        "ACCESS EXCLUSIVE",
        "most of ALTER TABLE, DROP TABLE, TRUNCATE, VACUUM FULL",
        "everybody",
        "Every read and every write waits.",
    ),
)
BY_NAME = {mode.name: mode for mode in MODES}
SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
SHARE = "SHARE"
SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"


def rank(mode: str) -> int:
    """From 0 for the weakest."""
    return MODES.index(BY_NAME[mode])


def is_strong(mode: str) -> bool:
    """Whether reads or writes wait for it."""
    return BY_NAME[mode].blocks_requests


def blocked(mode: str) -> str:
    """What waits for a strong lock."""
    return "reads and writes" if BY_NAME[mode].waiting == "everybody" else "writes"


def from_catalogue(mode: str) -> str:
    """The name in the manual of what `pg_locks` calls `ShareRowExclusiveLock`."""
    return re.sub(r"\B(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()


def strongest(*locks: Mapping[str, str]) -> dict[str, Mode]:
    """The strongest mode of each table among locks by table."""
    found: dict[str, Mode] = {}
    for table, name in (lock for taken in locks for lock in taken.items()):
        mode = BY_NAME[name]
        found[table] = max(mode, found.get(table, mode), key=MODES.index)
    return found
