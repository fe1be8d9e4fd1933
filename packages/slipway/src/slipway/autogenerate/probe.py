"""Asks PostgreSQL itself what an ALTER TABLE would do, on an empty copy of the table.

Whether a default is volatile or a type merely widened depends on the server's version and
catalogue; a list kept here would be wrong somewhere.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Connection, Enum, Table, Text, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import AddConstraint, CreateColumn

from slipway.autogenerate.dialect import DIALECT, quoted, send
from slipway.autogenerate.schema_change import TableName, table_of

COPY = "slipway_probe"


def adding_touches_rows(connection: Connection, table: TableName, column: Column[object]) -> bool:
    """Whether adding this column writes or reads the rows of its table.

    False also where it cannot be tried, since its type comes with the same migration.
    """
    action = f"ADD COLUMN {CreateColumn(column).compile(dialect=DIALECT)}"
    return _touches_rows(connection, table, action) or False


def is_free(connection: Connection, change: ops.AlterColumnOp) -> bool:
    """Whether PostgreSQL changes this type without writing or reading the table or its indexes.

    For every time zone: from `timestamp` to `timestamptz` it is free in UTC only.
    """
    new_type: Any = change.modify_type
    action = f"ALTER COLUMN {quoted(change.column_name)} TYPE {new_type.compile(DIALECT)}"
    return _touches_rows(connection, table_of(change), action) is False


def is_condition(connection: Connection, check: CheckConstraint, condition: str) -> bool | None:
    """Whether a check has this condition, though PostgreSQL words it in its own way.

    Nothing is written, so it can be asked in a transaction that may only read. None where that
    cannot be decided: the check names a column to come, or the user may not read the table.
    """
    wanted = _plan(connection, check.table, _condition(check))
    existing = _plan(connection, check.table, condition)
    return None if wanted is None or existing is None else wanted == existing


def is_readable(connection: Connection, table: Table, condition: str) -> bool:
    """Whether the user may read what a condition of the database reads."""
    return _plan(connection, table, condition) is not None


def columns_of_check(
    connection: Connection,
    table: TableName,
    check: CheckConstraint,
    added: Iterable[Column[Any]],
) -> list[str]:
    """Names of the columns that a check reads; none where PostgreSQL does not accept it (yet).

    Args:
        added: columns that the table does not have yet.
    """
    # Of the same name, since a condition may name its table.
    copy = f"pg_temp.{quoted(table.name)}"
    with connection.begin_nested() as attempt:
        try:
            send(connection, f"CREATE TABLE {copy} (LIKE {table.quoted})")
            for column in added:
                # The type of an enum may come with the same migration.
                type_ = Text() if isinstance(column.type, Enum) else column.type
                action = f"ADD COLUMN {quoted(column.name)} {type_.compile(DIALECT)}"
                send(connection, f"ALTER TABLE {copy} {action}")
            send(connection, f"ALTER TABLE {copy} ADD CHECK ({_condition(check)})")
            return list(connection.execute(CHECKED_COLUMNS, {"copy": copy}).scalars())
        except DBAPIError:
            return []
        finally:
            attempt.rollback()


CHECKED_COLUMNS = text("""
SELECT attname FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
WHERE conrelid = to_regclass(:copy) AND contype = 'c'
""")


def _plan(connection: Connection, table: Table, expression: str) -> Sequence[str] | None:
    """None where PostgreSQL does not accept the expression."""
    named = quoted(table.schema, table.name)
    query = f"EXPLAIN (VERBOSE, COSTS OFF) SELECT ({expression}) FROM {named}"  # noqa: S608
    with connection.begin_nested() as attempt:
        try:
            return send(connection, query).scalars().all()
        except DBAPIError:
            return None
        finally:
            attempt.rollback()


def _condition(check: CheckConstraint) -> str:
    compiler = DIALECT.ddl_compiler(
        DIALECT, AddConstraint(check, isolate_from_table=False)
    ).sql_compiler
    return compiler.process(check.sqltext, include_table=False, literal_binds=True)


def _touches_rows(connection: Connection, table: TableName, action: str) -> bool | None:
    """None where the action fails."""
    with connection.begin_nested() as attempt:
        try:
            send(connection, "SET LOCAL TimeZone = 'Asia/Kolkata'")
            send(connection, f"CREATE TEMPORARY TABLE {COPY} (LIKE {table.quoted} INCLUDING ALL)")
            before = connection.execute(FILES_AND_SCANS).all()
            send(connection, f"ALTER TABLE {COPY} {action}")
            return connection.execute(FILES_AND_SCANS).all() != before
        except DBAPIError:
            return None
        finally:
            attempt.rollback()


# A rewrite gives the table or an index a new file; a check of all rows scans the table.
FILES_AND_SCANS = text(f"""
SELECT oid::regclass::text, pg_relation_filenode(oid), pg_stat_get_xact_numscans(oid)
FROM pg_class
WHERE oid = '{COPY}'::regclass
   OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = '{COPY}'::regclass)
ORDER BY 1
""")  # noqa: S608  a constant
