"""Tables and enum types that are created or dropped, and columns that are dropped."""

from collections.abc import Iterator
from dataclasses import replace

from alembic.operations import ops
from sqlalchemy import Column, ForeignKeyConstraint

from slipway.autogenerate.dialect import DIALECT
from slipway.autogenerate.enums import AddEnumValueOp, DropEnumOp
from slipway.autogenerate.planned_revision import (
    Phase,
    PlannedRevision,
    plain_revision,
    revisions_for,
)
from slipway.autogenerate.schema_change import SchemaChange, TableName, table_of

RENAME = (
    "If {new} is the new name of {old}, the data is lost here. Do it in four steps instead: keep "
    "both and write both; copy the old to the new in batches; release code that reads the new; "
    "and drop the old one release later."
)


@revisions_for.register
def _create_table(operation: ops.CreateTableOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    referenced = {
        TableName(element.column.table.name, element.column.table.schema)
        for constraint in operation.to_table().constraints
        if isinstance(constraint, ForeignKeyConstraint)
        for element in constraint.elements
    }
    in_use = sorted(str(table) for table in referenced - change.created)
    yield replace(plain_revision(operation, change), locked=" and ".join(in_use) or None)


@revisions_for.register
def _drop_table(operation: ops.DropTableOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    table = table_of(operation)
    yield replace(
        plain_revision(operation, change),
        phase=Phase.CONTRACT,
        rank=2,
        why=(
            f"Drops {table} with its data: no running version may still name it.",
            *_probable_new_names(operation, change),
        ),
    )


def _probable_new_names(operation: ops.DropTableOp, change: SchemaChange) -> Iterator[str]:
    old = {column.name for column in operation.to_table().columns}
    for created in change.operations:
        if isinstance(created, ops.CreateTableOp):
            new = {column.name for column in created.to_table().columns}
            if len(old & new) * 3 >= len(old | new) * 2:
                names = {"old": table_of(operation), "new": table_of(created)}
                yield change.advice(RENAME.format(**names))


@revisions_for.register
def _drop_column(operation: ops.DropColumnOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    table, column, back = table_of(operation), operation.to_column(), operation.reverse()
    why = f"Drops {table}.{column.name} with its data: no running version may still name it."
    if not column.nullable and column.server_default is None:
        bare = Column(column.name, column.type, nullable=True, comment=column.comment)
        back = ops.AddColumnOp(table.name, bare, schema=table.schema)
        why += " Reverting brings it back empty, and so nullable."
    yield replace(
        plain_revision(operation, change),
        phase=Phase.CONTRACT,
        rank=1,
        downgrade=(back,),
        why=(why, *_probable_new_columns(operation, change)),
    )


def _probable_new_columns(operation: ops.DropColumnOp, change: SchemaChange) -> Iterator[str]:
    def type_of(column: Column[object]) -> str:
        return column.type.compile(DIALECT)

    table, column = table_of(operation), operation.to_column()
    for added in change.operations:
        if (
            isinstance(added, ops.AddColumnOp)
            and table_of(added) == table
            and type_of(added.column) == type_of(column)
        ):
            old, new = f"{table}.{column.name}", f"{table}.{added.column.name}"
            yield change.advice(RENAME.format(old=old, new=new))


@revisions_for.register
def _add_enum_value(operation: AddEnumValueOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    yield replace(
        plain_revision(operation, change),
        phase=Phase.VALUES,
        subject=str(operation.enum.name),
        why=(
            f"Adds {operation.value!r} to {operation.enum.name}, which locks no table. A "
            "transaction cannot use a value that it added, and code that does not know the value "
            "fails when it reads it: ship readers first.",
        ),
    )


@revisions_for.register
def _drop_enum(operation: DropEnumOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    yield replace(
        plain_revision(operation, change),
        phase=Phase.CONTRACT,
        rank=3,
        subject=str(operation.enum.name),
    )
