"""Creates and drops enum types where autogenerate forgets them.

Alembic leaves both to the table: a column that is added to an existing table then finds no type,
and a table that is dropped and made again finds one too many. Here each type is created and dropped
by a line of its own, and columns only name it.
"""

from collections.abc import Iterable, Iterator
from typing import cast

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import ARRAY, Column, Connection, Enum, MetaData, inspect
from sqlalchemy.dialects.postgresql.base import PGInspector


class CreateEnumOp(ops.MigrateOperation):
    def __init__(self, enum: Enum) -> None:
        self.enum = enum


class DropEnumOp(CreateEnumOp):
    pass


@renderers.dispatch_for(CreateEnumOp)
def _render_create(context: AutogenContext, operation: CreateEnumOp) -> str:
    return f"sa.Enum({_arguments(operation.enum)}).create(op.get_bind(), checkfirst=False)"


@renderers.dispatch_for(DropEnumOp)
def _render_drop(context: AutogenContext, operation: DropEnumOp) -> str:
    name = _arguments(operation.enum, values=False)
    return f"sa.Enum({name}).drop(op.get_bind(), checkfirst=False)"


def render_enum(enum: Enum, context: AutogenContext) -> str:
    """Write the type of a column, which must not try to create it."""
    context.imports.add("from sqlalchemy.dialects import postgresql")
    return f"postgresql.ENUM({_arguments(enum)}, create_type=False)"


def add_enums(
    connection: Connection,
    metadata: MetaData,
    upgrade: ops.UpgradeOps,
    downgrade: ops.DowngradeOps,
) -> None:
    """Create the types that new columns need, and drop those that no model has any more."""
    default_schema = connection.dialect.default_schema_name

    def key(enum: Enum) -> tuple[str | None, str | None]:
        return (enum.schema or default_schema, enum.name)

    inspector = cast("PGInspector", inspect(connection))
    existing = {(enum["schema"], enum["name"]) for enum in inspector.get_enums("*")}
    modelled = {key(enum) for table in metadata.tables.values() for enum in _enums(table.columns)}
    added = {key(enum): enum for enum in _enums(_columns(upgrade))}
    removed = {key(enum): enum for enum in _enums(_columns(downgrade))}
    new = [enum for name, enum in added.items() if name not in existing]
    unused = [enum for name, enum in removed.items() if name not in modelled]

    upgrade.ops[:0] = [CreateEnumOp(enum) for enum in new]
    upgrade.ops += [DropEnumOp(enum) for enum in unused]
    downgrade.ops[:0] = [CreateEnumOp(enum) for enum in unused]
    downgrade.ops += [DropEnumOp(enum) for enum in new]


def _columns(operations: ops.OpContainer) -> Iterator[Column[object]]:
    """The columns that come into being."""
    for operation in operations.ops:
        if isinstance(operation, ops.OpContainer):
            yield from _columns(operation)
        elif isinstance(operation, ops.CreateTableOp):
            yield from (item for item in operation.columns if isinstance(item, Column))
        elif isinstance(operation, ops.AddColumnOp):
            yield operation.column


def _enums(columns: Iterable[Column[object]]) -> Iterator[Enum]:
    for column in columns:
        type_ = column.type.item_type if isinstance(column.type, ARRAY) else column.type
        if isinstance(type_, Enum) and type_.native_enum:
            yield type_


def _arguments(enum: Enum, *, values: bool = True) -> str:
    arguments = [repr(value) for value in enum.enums] if values else []
    arguments.append(f"name={enum.name!r}")
    if enum.schema:
        arguments.append(f"schema={enum.schema!r}")
    return ", ".join(arguments)
