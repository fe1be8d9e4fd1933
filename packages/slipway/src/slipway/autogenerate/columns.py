"""Columns that are added or altered."""

from collections.abc import Iterator
from dataclasses import replace

from alembic.operations import ops
from sqlalchemy import Column, DefaultClause, text
from sqlalchemy.schema import AddConstraint, CreateColumn
from sqlalchemy.sql.elements import conv

from slipway.autogenerate import probe
from slipway.autogenerate.custom_operations import (
    NothingOp,
    RefuseNullsOp,
    TodoOp,
    UpdateInBatchesOp,
)
from slipway.autogenerate.dialect import DIALECT, quoted
from slipway.autogenerate.names import shortened
from slipway.autogenerate.planned_revision import (
    Phase,
    PlannedRevision,
    plain_revision,
    revisions_for,
)
from slipway.autogenerate.schema_change import SchemaChange, TableName, name_of, table_of
from slipway.autogenerate.types import change_type

REQUIRED = (
    "{column} has no value for the rows that exist, nor for those that the running version "
    "inserts, so this fails on a table with rows. Give it a server_default in the model, or make "
    "it nullable, fill it in batches, and require it in a later release."
)
REWRITES = (
    "adding {column} in this form writes or reads the whole table while nobody else can use it. "
    "Add a plain nullable column and fill it in batches."
)


@revisions_for.register
def _add(operation: ops.AddColumnOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    table, column = table_of(operation), operation.column
    name = f"{table}.{column.name}"
    plain = plain_revision(operation, change)
    if key := inline_foreign_key(operation, change):
        yield replace(
            plain,
            upgrade=(_add_with_foreign_key(operation, key, change),),
            why=(
                f"{name} comes with its foreign key in one statement: in a new column there is "
                "nothing to check, so no table is scanned.",
            ),
        )
    elif not column.nullable and column.server_default is None:
        yield replace(
            plain, upgrade=(TodoOp(change.advice(REQUIRED.format(column=name))), operation)
        )
    elif not probe.adding_touches_rows(change.connection, table, column):
        yield plain
    elif isinstance(column.server_default, DefaultClause):
        yield from _add_with_volatile_default(operation, plain, change)
    else:
        yield replace(
            plain, upgrade=(TodoOp(change.advice(REWRITES.format(column=name))), operation)
        )


def inline_foreign_key(
    operation: ops.AddColumnOp, change: SchemaChange
) -> ops.CreateForeignKeyOp | None:
    """The foreign key that can come in one statement with the column, which is empty then."""
    column = operation.column
    if not column.nullable or column.server_default is not None:
        return None
    for key in change.foreign_keys_of(table_of(operation)):
        if key.local_cols == [column.name] and not change.needs_new_unique(key):
            return key
    return None


def _add_with_foreign_key(
    operation: ops.AddColumnOp, key: ops.CreateForeignKeyOp, change: SchemaChange
) -> ops.ExecuteSQLOp:
    """As SQL, since `inline_references` of Alembic 1.20 loses the name of the constraint."""
    column = CreateColumn(operation.column).compile(dialect=DIALECT)
    constraint = str(AddConstraint(key.to_constraint()).compile(dialect=DIALECT))
    return ops.ExecuteSQLOp(
        f"ALTER TABLE {table_of(operation).quoted} ADD COLUMN {column} "
        f"CONSTRAINT {quoted(name_of(key))} "
        f"REFERENCES{constraint.partition('REFERENCES')[2]}"
    )


def _add_with_volatile_default(
    operation: ops.AddColumnOp, plain: PlannedRevision, change: SchemaChange
) -> Iterator[PlannedRevision]:
    table, column = table_of(operation), operation.column
    bare = Column(column.name, column.type, nullable=True, comment=column.comment)
    set_default = ops.AlterColumnOp(
        *(table.name, column.name),
        schema=table.schema,
        existing_type=column.type,
        existing_nullable=True,
        modify_server_default=column.server_default,
    )
    yield replace(
        plain,
        upgrade=(ops.AddColumnOp(table.name, bare, schema=table.schema), set_default),
        why=(
            f"The default of {table}.{column.name} differs from row to row: added with the column, "
            "it would rewrite the table under a lock. So the column comes empty, the default holds "
            "for new rows, and a later revision fills the others.",
        ),
    )
    yield _fill_with_default(table, column.name, change)
    if not column.nullable:
        required = ops.AlterColumnOp(
            *(table.name, column.name),
            schema=table.schema,
            existing_type=column.type,
            existing_nullable=True,
            modify_nullable=False,
        )
        yield from _require(required, change)


def _fill_with_default(table: TableName, column: str, change: SchemaChange) -> PlannedRevision:
    name = quoted(column)
    return PlannedRevision(
        phase=Phase.BACKFILL,
        subject=f"{table} {column}",
        upgrade=(
            UpdateInBatchesOp(table.name, f"{name} = DEFAULT", f"{name} IS NULL", table.schema),
        ),
        downgrade=(NothingOp("what was filled in may stay"),),
        why=(
            f"Gives {table}.{column} its default in all rows that have none, in short "
            "transactions: nobody waits, and after an interruption it goes on where it stopped.",
        ),
        alone=True,
    )


@revisions_for.register
def _alter(operation: ops.AlterColumnOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    table, name = table_of(operation), f"{operation.table_name}.{operation.column_name}"
    plain = plain_revision(operation, change)
    if operation.modify_nullable is False:
        if operation.existing_server_default not in (None, False):
            yield _fill_with_default(table, operation.column_name, change)
        yield from _require(operation, change)
    elif operation.modify_type is not None:
        yield from change_type(operation, plain, change)
    elif operation.modify_server_default is None:
        yield replace(
            plain,
            phase=Phase.CONTRACT,
            why=(
                f"{name} loses its default: no version that leaves it out of its INSERTs may "
                "still run.",
            ),
        )
    else:
        yield plain


def _require(operation: ops.AlterColumnOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    """NOT NULL by way of a check that is proved before: then it needs no scan under its lock."""
    table, column = table_of(operation), operation.column_name
    name = shortened("ck", table.name, column, "not_null")
    check = ops.CreateCheckConstraintOp(
        conv(name),
        table.name,
        text(f"{quoted(column)} IS NOT NULL"),
        schema=table.schema,
        postgresql_not_valid=True,
    )
    drop_check = ops.DropConstraintOp(conv(name), table.name, type_="check", schema=table.schema)
    validate = f"ALTER TABLE {table.quoted} VALIDATE CONSTRAINT {quoted(name)}"
    yield PlannedRevision(
        phase=Phase.CONSTRAIN,
        subject=f"{table} {column}",
        upgrade=(RefuseNullsOp(table.name, column, table.schema), check),
        downgrade=(drop_check,),
        why=(
            f"From here on nobody can write NULL to {table}.{column}: {name} sees to it, without a "
            "scan under its lock. Since any UPDATE of a row that has NULL would fail too, such "
            "rows are looked for first.",
        ),
        locked=str(table),
        alone=True,
    )
    yield PlannedRevision(
        phase=Phase.NOT_NULL,
        subject=f"{table} {column}",
        upgrade=(
            ops.ExecuteSQLOp("SET LOCAL statement_timeout = 0"),
            ops.ExecuteSQLOp(validate),
            operation,
            drop_check,
        ),
        downgrade=(operation.reverse(), check),
        why=(
            f"Proves that no row of {table} has NULL in {column}, while reads and writes go on; "
            "with the proof, NOT NULL needs no scan and the check is no longer needed.",
        ),
        locked=str(table),
        alone=True,
    )
