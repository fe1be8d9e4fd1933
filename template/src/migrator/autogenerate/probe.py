"""Asks PostgreSQL itself what an ALTER TABLE would do, on an empty copy of the table.

Whether a default is volatile or a type merely widened depends on the server's version and
catalogue; a list kept here would be wrong somewhere.
"""

from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import AddConstraint, CreateColumn

from migrator.autogenerate.change import Table, table_of

COPY = "migrator_probe"


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


def check_condition(connection: Connection, check: CheckConstraint) -> str | None:
    """A condition in PostgreSQL's own words, to be compared with one that is there.

    None where it cannot be had, since it names a column that is not there yet.
    """
    addition = str(AddConstraint(check).compile(dialect=connection.dialect)).partition(" ADD ")[2]
    with connection.begin_nested() as attempt:
        try:
            _make_copy(connection, Table(check.table.name, check.table.schema), "")
            connection.exec_driver_sql(f"ALTER TABLE {COPY} ADD {addition}")
            [found] = inspect(connection).get_check_constraints(COPY)
            return found["sqltext"]
        except DBAPIError:
            return None
        finally:
            attempt.rollback()


def _make_copy(connection: Connection, table: Table, what: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    original = ".".join(quote(name) for name in (table.schema, table.name) if name)
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {COPY} (LIKE {original} {what})")


def _touches_rows(connection: Connection, table: Table, action: str) -> bool | None:
    """None where the action fails."""
    with connection.begin_nested() as attempt:
        try:
            connection.exec_driver_sql("SET LOCAL TimeZone = 'Asia/Kolkata'")
            _make_copy(connection, table, "INCLUDING ALL")
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
