"""Columns that come or change."""

from collections.abc import Iterator
from dataclasses import replace

from alembic.operations import ops
from sqlalchemy import Column, DefaultClause, text
from sqlalchemy.schema import AddConstraint, CreateColumn
from sqlalchemy.sql.elements import conv

from slipway.autogenerate import probe
from slipway.autogenerate.change import Change, Table, name_of, shortened, table_of
from slipway.autogenerate.directives import (
    NothingOp,
    RefuseNullsOp,
    TodoOp,
    UpdateInBatchesOp,
)
from slipway.autogenerate.step import Phase, Step, plain, steps

REQUIRED = (
    "{column} has no value for the rows that are there, nor for those that the running version "
    "inserts, so this fails on a table with rows. Give it a server_default in the model, or make "
    'it nullable, fill it, and require it later: docs/migrations.md, "A required column".'
)
REWRITES = (
    "adding {column} in this form writes or reads the whole table while nobody else can use it. "
    'Add a plain nullable column and fill it in batches: docs/migrations.md, "Change a type".'
)
CHANGES_TYPE = (
    "this writes or reads all of {table} while nobody else can use it, and the running version "
    'meets a type that it does not expect. docs/migrations.md, "Change a type", has the steps.'
)


@steps.register
def _add(operation: ops.AddColumnOp, change: Change) -> Iterator[Step]:
    table, column = table_of(operation), operation.column
    name = f"{table}.{column.name}"
    as_it_is = plain(operation, change)
    if key := inline_foreign_key(operation, change):
        yield replace(
            as_it_is,
            upgrade=(_add_with_foreign_key(operation, key, change),),
            why=(
                f"{name} comes with its foreign key in one statement: in a new column there is "
                "nothing to check, so no table is scanned.",
            ),
        )
    elif not column.nullable and column.server_default is None:
        yield replace(as_it_is, upgrade=(TodoOp(REQUIRED.format(column=name)), operation))
    elif not probe.adding_touches_rows(change.connection, table, column):
        yield as_it_is
    elif isinstance(column.server_default, DefaultClause):
        yield from _add_with_volatile_default(operation, as_it_is, change)
    else:
        yield replace(as_it_is, upgrade=(TodoOp(REWRITES.format(column=name)), operation))


def inline_foreign_key(operation: ops.AddColumnOp, change: Change) -> ops.CreateForeignKeyOp | None:
    """The foreign key that can come in one statement with the column, which is empty then."""
    column = operation.column
    if not column.nullable or column.server_default is not None:
        return None
    for key in change.foreign_keys_of(table_of(operation)):
        if key.local_cols == [column.name] and not change.needs_new_unique(key):
            return key
    return None


def _add_with_foreign_key(
    operation: ops.AddColumnOp, key: ops.CreateForeignKeyOp, change: Change
) -> ops.ExecuteSQLOp:
    """As SQL, since `inline_references` of Alembic 1.20 loses the name of the constraint."""
    dialect = change.connection.dialect
    column = CreateColumn(operation.column).compile(dialect=dialect)
    constraint = str(AddConstraint(key.to_constraint()).compile(dialect=dialect))
    return ops.ExecuteSQLOp(
        f"ALTER TABLE {change.quoted(table_of(operation))} ADD COLUMN {column} "
        f"CONSTRAINT {change.quote(name_of(key))} "
        f"REFERENCES{constraint.partition('REFERENCES')[2]}"
    )


def _add_with_volatile_default(
    operation: ops.AddColumnOp, as_it_is: Step, change: Change
) -> Iterator[Step]:
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
        as_it_is,
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


def _fill_with_default(table: Table, column: str, change: Change) -> Step:
    name = change.quote(column)
    return Step(
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


@steps.register
def _alter(operation: ops.AlterColumnOp, change: Change) -> Iterator[Step]:
    table, name = table_of(operation), f"{operation.table_name}.{operation.column_name}"
    as_it_is = plain(operation, change)
    if operation.modify_nullable is False:
        if operation.existing_server_default not in (None, False):
            yield _fill_with_default(table, operation.column_name, change)
        yield from _require(operation, change)
    elif operation.modify_type is not None:
        yield from _change_type(operation, as_it_is, change)
    elif operation.modify_server_default is None:
        yield replace(
            as_it_is,
            phase=Phase.CONTRACT,
            why=(
                f"{name} loses its default: no version that leaves it out of its INSERTs may "
                "still run.",
            ),
        )
    else:
        yield as_it_is


def _change_type(operation: ops.AlterColumnOp, as_it_is: Step, change: Change) -> Iterator[Step]:
    table = table_of(operation)
    name = f"{table}.{operation.column_name}"
    if probe.is_free(change.connection, operation):
        yield replace(
            as_it_is,
            why=(
                f"PostgreSQL widens the type of {name} without writing or reading the table: tried "
                "on an empty copy of it.",
            ),
        )
        return
    yield replace(
        as_it_is,
        phase=Phase.TYPE,
        upgrade=(TodoOp(CHANGES_TYPE.format(table=table)), operation),
        why=(
            f"The type of {name} cannot be changed while the service works. Instead, add a new "
            "column of the new type, write both, fill the new one in batches, read it, and drop "
            "the old one in a later release.",
        ),
    )


def _require(operation: ops.AlterColumnOp, change: Change) -> Iterator[Step]:
    """NOT NULL by way of a check that is proved before: then it needs no scan under its lock."""
    table, column = table_of(operation), operation.column_name
    name = shortened("ck", table.name, column, "not_null")
    check = ops.CreateCheckConstraintOp(
        conv(name),
        table.name,
        text(f"{change.quote(column)} IS NOT NULL"),
        schema=table.schema,
        postgresql_not_valid=True,
    )
    drop_check = ops.DropConstraintOp(conv(name), table.name, type_="check", schema=table.schema)
    validate = f"ALTER TABLE {change.quoted(table)} VALIDATE CONSTRAINT {change.quote(name)}"
    yield Step(
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
    yield Step(
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
