"""Asks PostgreSQL itself what an ALTER TABLE would do, on an empty copy of the table.

Whether a default is volatile or a type merely widened depends on the server's version and
catalogue; a list kept here would be wrong somewhere.
"""

from collections.abc import Sequence
from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import AddConstraint, CreateColumn

from slipway.autogenerate.change import Table, table_of

COPY = "slipway_probe"


def adding_touches_rows(connection: Connection, table: Table, column: Column[object]) -> bool:
    """Whether adding this column writes or reads the rows of its table.

    False also where it cannot be tried, since its type comes with the same migration.
    """
    action = f"ADD COLUMN {CreateColumn(column).compile(dialect=connection.dialect)}"
    return _touches_rows(connection, table, action) or False


def is_free(connection: Connection, change: ops.AlterColumnOp) -> bool:
    """Whether PostgreSQL changes this type without writing or reading the table or its indexes.

    For every time zone: from `timestamp` to `timestamptz` it is free in UTC only.
    """
    new_type: Any = change.modify_type
    column = connection.dialect.identifier_preparer.quote(change.column_name)
    action = f"ALTER COLUMN {column} TYPE {new_type.compile(connection.dialect)}"
    return _touches_rows(connection, table_of(change), action) is False


def is_condition(connection: Connection, check: CheckConstraint, condition: str) -> bool | None:
    """Whether a check has this condition, though PostgreSQL says it in its own words.

    Nothing is written, so it can be asked in a transaction that may only read. None where it cannot
    be told: the check names a column that is not there yet, or the user may not read the table.
    """
    compiler = connection.dialect.ddl_compiler(connection.dialect, AddConstraint(check))
    wanted = compiler.sql_compiler.process(check.sqltext, include_table=False, literal_binds=True)
    named = connection.dialect.identifier_preparer.format_table(check.table)
    with connection.begin_nested() as attempt:
        try:
            return _plan(connection, wanted, named) == _plan(connection, condition, named)
        except DBAPIError:
            return None
        finally:
            attempt.rollback()


def _plan(connection: Connection, expression: str, table: str) -> Sequence[str]:
    query = f"EXPLAIN (VERBOSE, COSTS OFF) SELECT ({expression}) FROM {table}"  # noqa: S608
    return connection.exec_driver_sql(query).scalars().all()


def _make_copy(connection: Connection, table: Table) -> None:
    quote = connection.dialect.identifier_preparer.quote
    original = ".".join(quote(name) for name in (table.schema, table.name) if name)
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {COPY} (LIKE {original} INCLUDING ALL)")


def _touches_rows(connection: Connection, table: Table, action: str) -> bool | None:
    """None where the action fails."""
    with connection.begin_nested() as attempt:
        try:
            connection.exec_driver_sql("SET LOCAL TimeZone = 'Asia/Kolkata'")
            _make_copy(connection, table)
            before = connection.execute(FILES_AND_SCANS).all()
            connection.exec_driver_sql(f"ALTER TABLE {COPY} {action}")
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
