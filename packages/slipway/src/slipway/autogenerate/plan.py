"""Splits a schema change into steps that can each run while the service works.

Autogenerate says what differs between models and schema; here each difference takes the form that
blocks nobody, and what must not share a transaction gets a revision of its own.
"""

from collections.abc import Iterable
from dataclasses import replace

from alembic.operations import ops
from sqlalchemy import Connection

# These modules register the steps of their operations.
from slipway.autogenerate import columns, constraints, tables  # noqa: F401
from slipway.autogenerate.change import Change, flatten
from slipway.autogenerate.step import Step, steps


def plan(connection: Connection, operations: Iterable[ops.MigrateOperation]) -> list[Step]:
    """Return the steps of a change in the order in which they run, each one a revision.

    Args:
        connection: to the database that the change was made out against; it is only asked.
        operations: what autogenerate found.
    """
    change = Change(connection, tuple(flatten(operations)))
    found = (step for operation in change.operations for step in steps(operation, change))
    merged: list[Step] = []
    for step in sorted(found, key=lambda step: (step.phase, step.rank)):
        if merged and _can_share(merged[-1], step):
            merged[-1] = _together(merged[-1], step)
        else:
            merged.append(step)
    return merged


def _can_share(one: Step, other: Step) -> bool:
    """A transaction that holds a lock on one table and queues for another's blocks both."""
    if one.phase != other.phase or one.alone or other.alone:
        return False
    return one.locked is None or other.locked in (None, one.locked)


def _together(one: Step, other: Step) -> Step:
    return replace(
        one,
        subject=one.subject or other.subject,
        upgrade=one.upgrade + other.upgrade,
        downgrade=other.downgrade + tuple(op for op in one.downgrade if op not in other.downgrade),
        why=tuple(dict.fromkeys(one.why + other.why)),
        locked=one.locked or other.locked,
    )
