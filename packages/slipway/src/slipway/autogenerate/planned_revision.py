"""The revisions that a schema change is split into; the modules beside this one know which."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import singledispatch

from alembic.operations import ops

from slipway.autogenerate.schema_change import SchemaChange, table_of


class Phase(IntEnum):
    """What a revision is for, in the order in which revisions run."""

    VALUES = 0
    EXPAND = 1
    BACKFILL = 2
    INDEX = 3
    UNIQUE = 4
    CONSTRAIN = 5
    VALIDATE = 6
    NOT_NULL = 7
    TYPE = 8
    CONTRACT = 9


@dataclass(frozen=True, kw_only=True)
class PlannedRevision:
    """Operations that share a transaction.

    Attributes:
        rank: Its place among revisions of one phase.
        subject: The object that it is about.
        downgrade: In the order in which it runs.
        why: Paragraphs for the reader of the file.
        locked: The table in use that it locks, if any.
        alone: Whether it shares its file with no other.
    """

    phase: Phase
    rank: int = 0
    subject: str
    upgrade: tuple[ops.MigrateOperation, ...]
    downgrade: tuple[ops.MigrateOperation, ...]
    why: tuple[str, ...] = ()
    locked: str | None = None
    alone: bool = False


def plain_revision(operation: ops.MigrateOperation, change: SchemaChange) -> PlannedRevision:
    """What Alembic writes, in a transaction with other operations on its table."""
    table = table_of(operation)
    return PlannedRevision(
        phase=Phase.EXPAND,
        subject=str(table),
        upgrade=(operation,),
        downgrade=(operation.reverse(),),
        locked=None if not table.name or table in change.created else str(table),
    )


@singledispatch
def revisions_for(
    operation: ops.MigrateOperation, change: SchemaChange
) -> Iterator[PlannedRevision]:
    """Return the revisions that an operation needs; by default, the plain one."""
    yield plain_revision(operation, change)
