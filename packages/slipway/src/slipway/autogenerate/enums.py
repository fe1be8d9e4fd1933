"""Creates, extends and drops enum types where autogenerate forgets them.

Alembic leaves both to the table: a column that is added to an existing table then finds no type,
and a table that is dropped and made again finds one too many. Here each type is created and dropped
by a line of its own, and columns only name it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    DefaultClause,
    Enum,
    FetchedValue,
    MetaData,
    TextClause,
    inspect,
)
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.types import TypeEngine

from slipway.autogenerate.dialect import quoted

Metadata = MetaData | Sequence[MetaData]


def metadata_list(metadata: Metadata) -> Sequence[MetaData]:
    return [metadata] if isinstance(metadata, MetaData) else metadata


class CreateEnumOp(ops.MigrateOperation):
    def __init__(self, enum: Enum) -> None:
        self.enum = enum

    def reverse(self) -> "DropEnumOp":
        return DropEnumOp(self.enum)


class DropEnumOp(ops.MigrateOperation):
    def __init__(self, enum: Enum) -> None:
        self.enum = enum

    def reverse(self) -> CreateEnumOp:
        return CreateEnumOp(self.enum)


class AddEnumValueOp(ops.MigrateOperation):
    def __init__(self, enum: Enum, value: str) -> None:
        self.enum = enum
        self.value = value

    def to_diff_tuple(self) -> tuple[str, str | None, str]:
        return ("add_enum_value", self.enum.name, self.value)

    def reverse(self) -> "KeepEnumValueOp":
        return KeepEnumValueOp(self.enum, self.value)


class KeepEnumValueOp(AddEnumValueOp):
    """PostgreSQL cannot remove a value."""


@comparators.dispatch_for("schema")
def compare_values(
    context: AutogenContext, operations: ops.UpgradeOps, schemas: set[str | None]
) -> None:
    """Find the values that the models have and the types of the database lack."""
    if context.connection is None or context.metadata is None:
        return
    existing = _existing(context.connection)
    modelled = {_key(context.connection, enum): enum for enum in _modelled(context.metadata)}
    for key, enum in modelled.items():
        missing = [value for value in enum.enums if value not in existing.get(key, enum.enums)]
        operations.ops += [AddEnumValueOp(enum, value) for value in missing]


@comparators.dispatch_for("column", subgroup="server_default")
def compare_default(
    context: AutogenContext,
    operation: ops.AlterColumnOp,
    schema: str | None,
    table: str,
    name: str,
    in_database: Column[object],
    in_models: Column[object],
) -> PriorityDispatchResult:
    """Compare defaults of enums as text.

    The server, which Alembic asks, would reject a value that does not exist yet.
    """
    before, after = (_literal(column.server_default) for column in (in_database, in_models))
    if not isinstance(in_models.type, Enum) or before is None or after is None:
        return PriorityDispatchResult.CONTINUE
    if before != after:
        operation.modify_server_default = in_models.server_default
    return PriorityDispatchResult.STOP


def _literal(default: FetchedValue | None) -> str | None:
    """The value of a default without its cast, as SQL."""
    match default:
        case DefaultClause(arg=TextClause(text=text)):
            return text.partition("::")[0]
        case DefaultClause(arg=str(value)):
            return "'" + value.replace("'", "''") + "'"
        case _:
            return None


@renderers.dispatch_for(CreateEnumOp)
def _render_create(context: AutogenContext, operation: CreateEnumOp) -> str:
    return f"sa.Enum({_arguments(operation.enum)}).create(op.get_bind(), checkfirst=False)"


@renderers.dispatch_for(DropEnumOp)
def _render_drop(context: AutogenContext, operation: DropEnumOp) -> str:
    name = _arguments(operation.enum, values=False)
    return f"sa.Enum({name}).drop(op.get_bind(), checkfirst=False)"


@renderers.dispatch_for(AddEnumValueOp)
def _render_add_value(context: AutogenContext, operation: AddEnumValueOp) -> str:
    name = quoted(operation.enum.schema, operation.enum.name)
    value = operation.value.replace("'", "''")
    # It stays when the revision is reverted, and is there when it is applied again.
    statement = f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS '{value}'"
    return f"op.execute({statement!r})"


@renderers.dispatch_for(KeepEnumValueOp)
def _render_keep_value(context: AutogenContext, operation: KeepEnumValueOp) -> str:
    return f"pass  # {operation.enum.name} keeps {operation.value!r}: a value cannot be removed"


def render_enum(enum: Enum, context: AutogenContext) -> str:
    """Write the type of a column, which must not try to create it."""
    context.imports.add("from sqlalchemy.dialects import postgresql")
    return f"postgresql.ENUM({_arguments(enum)}, create_type=False)"


def add_enums(connection: Connection, metadata: Metadata, upgrade: ops.UpgradeOps) -> None:
    """Create the types that new columns need, and drop those that no model has any more."""
    existing = _existing(connection)
    modelled = {_key(connection, enum) for enum in _modelled(metadata)}
    added = {_key(connection, enum): enum for enum in _enums(_types(upgrade))}
    removed = {_key(connection, enum): enum for enum in _enums(_types(upgrade.reverse()))}
    upgrade.ops[:0] = [CreateEnumOp(enum) for key, enum in added.items() if key not in existing]
    upgrade.ops += [DropEnumOp(enum) for key, enum in removed.items() if key not in modelled]


Key = tuple[str | None, str | None]


def _key(connection: Connection, enum: Enum) -> Key:
    return (enum.schema or connection.dialect.default_schema_name, enum.name)


def _existing(connection: Connection) -> dict[Key, list[str]]:
    inspector = cast("PGInspector", inspect(connection))
    return {(enum["schema"], enum["name"]): enum["labels"] for enum in inspector.get_enums("*")}


def _modelled(metadata: Metadata) -> Iterator[Enum]:
    tables = (table for each in metadata_list(metadata) for table in each.tables.values())
    columns = (column for table in tables for column in table.columns)
    return _enums(column.type for column in columns)


def _types(operations: ops.OpContainer) -> Iterator[TypeEngine[object]]:
    """The types of columns that come into being, or get another type."""
    for operation in operations.ops:
        match operation:
            case ops.OpContainer():
                yield from _types(operation)
            case ops.CreateTableOp():
                yield from (item.type for item in operation.columns if isinstance(item, Column))
            case ops.AddColumnOp():
                yield operation.column.type
            case ops.AlterColumnOp() if operation.modify_type is not None:
                yield operation.modify_type


def _enums(types: Iterable[TypeEngine[object]]) -> Iterator[Enum]:
    for type_ in types:
        item = type_.item_type if isinstance(type_, ARRAY) else type_
        if isinstance(item, Enum) and item.native_enum:
            yield item


def _arguments(enum: Enum, *, values: bool = True) -> str:
    arguments = [repr(value) for value in enum.enums] if values else []
    arguments.append(f"name={enum.name!r}")
    if enum.schema:
        arguments.append(f"schema={enum.schema!r}")
    return ", ".join(arguments)
