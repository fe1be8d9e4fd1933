"""Splits a schema change into revisions that can each run while the service works.

Autogenerate finds what differs between models and schema; here each difference takes the form that
blocks no other session, and what must not share a transaction gets a revision of its own.
"""

from collections.abc import Iterable
from dataclasses import replace

from alembic.operations import ops
from sqlalchemy import Connection

# These modules register the revisions for their operations.
from slipway.autogenerate import columns, constraints, tables  # noqa: F401
from slipway.autogenerate.planned_revision import PlannedRevision, revisions_for
from slipway.autogenerate.schema_change import SchemaChange, flatten


def plan(
    connection: Connection, operations: Iterable[ops.MigrateOperation], documentation: str = ""
) -> list[PlannedRevision]:
    """Return the revisions for a change in the order in which they run.

    Args:
        connection: to the database that was compared with the models; it is only asked.
        operations: what autogenerate found.
        documentation: where the project explains what the author has to do; a URL or a path.
    """
    change = SchemaChange(connection, tuple(flatten(operations)), documentation)
    found = (
        revision for operation in change.operations for revision in revisions_for(operation, change)
    )
    merged: list[PlannedRevision] = []
    for revision in sorted(found, key=lambda revision: (revision.phase, revision.rank)):
        if merged and _can_share(merged[-1], revision):
            merged[-1] = _together(merged[-1], revision)
        else:
            merged.append(revision)
    return merged


def _can_share(one: PlannedRevision, other: PlannedRevision) -> bool:
    """A transaction that holds a lock on one table and queues for another's blocks both."""
    if one.phase != other.phase or one.alone or other.alone:
        return False
    return one.locked is None or other.locked in (None, one.locked)


def _together(one: PlannedRevision, other: PlannedRevision) -> PlannedRevision:
    return replace(
        one,
        subject=one.subject or other.subject,
        upgrade=one.upgrade + other.upgrade,
        downgrade=other.downgrade + tuple(op for op in one.downgrade if op not in other.downgrade),
        why=tuple(dict.fromkeys(one.why + other.why)),
        locked=one.locked or other.locked,
    )
