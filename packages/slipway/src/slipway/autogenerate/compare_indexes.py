"""Compares the indexes that the models leave unnamed, which Alembic cannot.

They have no name where a naming convention is set that says nothing about indexes.
"""

from collections.abc import Container, Iterable
from itertools import count, islice

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.util import DispatchPriority
from sqlalchemy import Index, Table, inspect

from slipway.autogenerate.names import index_columns, joined, object_name

# Indexes on the same columns that are looked for by their numbers.
MOST = 100


@comparators.dispatch_for("table", priority=DispatchPriority.LAST)
def compare_unnamed_indexes(
    context: AutogenContext,
    operations: ops.ModifyTableOps,
    schema: str | None,
    name: str,
    in_database: Table | None,
    in_models: Table | None,
) -> None:
    """Find unnamed indexes that do not exist under the name that PostgreSQL gives to them.

    Alembic has proposed to drop those that exist, and to create one of all that have no name.
    """
    if context.connection is None or in_models is None:
        return
    if all(index.name is not None for index in in_models.indexes):
        return
    existing: set[str] = set()
    if in_database is not None:
        reflected = inspect(context.connection).get_indexes(name, schema)
        existing = {str(index["name"]) for index in reflected}
    kept: set[str | None] = {None}
    missing = []
    for index in in_models.indexes:
        if index.name is None:
            if found := _existing_name(index, name, existing - kept):
                kept.add(found)
            else:
                missing.append(ops.CreateIndexOp.from_index(index))
    operations.ops[:] = [op for op in operations.ops if not _concerns(op, kept)]
    operations.ops += missing


def _existing_name(index: Index, table: str, existing: Iterable[str]) -> str | None:
    columns = joined(index_columns(index))
    names = (object_name(table, columns, f"idx{number or ''}") for number in count())
    return next((name for name in islice(names, MOST) if name in existing), None)


def _concerns(operation: ops.MigrateOperation, names: Container[str | None]) -> bool:
    if isinstance(operation, ops.CreateIndexOp | ops.DropIndexOp):
        return operation.index_name in names
    return False
