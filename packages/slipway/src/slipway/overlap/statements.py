"""Writes down the statements that a version of a project sends, as its models say.

Run by its path through `redirect.py`, with the Python of that version, which may have neither this
library nor asyncpg: `statements.py OUTPUT INI TOML SECTION` imports SQLAlchemy and Alembic only.
The output is pickled, and holds nothing but plain values: another version of Python reads it.
"""

import datetime
import decimal
import ipaddress
import pickle
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.exc import SQLAlchemyError

ROWS = 3
Row = Sequence[Any]
Values = dict[sa.Column[Any], Any]


@dataclass(frozen=True)
class Template:
    """A statement for a row that exists.

    Attributes:
        kind: What it does.
        statement: Makes it from the row.
        is_extreme: Whether a value is not of the row, but what its column has just room for.
    """

    kind: str
    statement: Callable[[Row], sa.Executable]
    writes: bool
    is_extreme: bool = False


def read(config: Config) -> dict[str, Any]:
    """Return the statements of all tables that `env.py` compares with the database."""
    script = ScriptDirectory.from_config(config)
    found: list[dict[str, Any]] = []

    # The library's runner knows this name, and lets it only read.
    def slipway_command(_heads: object, context: Any) -> list[Any]:
        metadata = context.opts["target_metadata"]
        every = metadata if isinstance(metadata, Sequence) else [metadata]
        tables = [table for one in every if one is not None for table in one.sorted_tables]
        found.append(_of_tables(context.connection, tables))
        return []

    options = {"dont_mutate": True, "transactional_ddl": False}
    with EnvironmentContext(config, script, fn=slipway_command, **options):
        script.run_env()
    return found[0]


def _of_tables(connection: sa.Connection, tables: Iterable[sa.Table]) -> dict[str, Any]:
    connection.rollback()  # ends the transaction in which the heads were read
    search_path = connection.exec_driver_sql("SHOW search_path").scalar_one()
    dialect, requests, untried = _dialect(), [], []
    for table in tables:
        rows = _rows(connection, table)
        sent = [_request(table, template, rows, dialect) for template in templates(table)]
        requests += [request for request in sent if request]
        if not rows or not all(sent):
            untried.append(table.fullname)
    return {"requests": requests, "untried": untried, "search_path": search_path}


def _rows(connection: sa.Connection, table: sa.Table) -> Sequence[Row]:
    try:
        return connection.execute(sa.select(table).limit(ROWS)).all()
    # Its models and its schema do not agree, or its types refuse the values, in their own ways.
    except Exception:
        return []
    finally:
        connection.rollback()


def templates(table: sa.Table) -> Iterator[Template]:
    """Yield what can be sent for a table; what it refuses from the start is sorted out later."""
    columns, keys = list(table.columns), list(table.primary_key.columns)
    at = {column: place for place, column in enumerate(columns)}
    sent = [column for column in columns if _is_sent(column)]
    filled = [column for column in columns if column not in sent] or keys or columns
    changed = [c for c in columns if not c.primary_key and not c.computed and not c.identity]
    # What SQLAlchemy sets with each update; values of the row do as well.
    touched = [column for column in changed if _has_value(column.onupdate)]

    def key(row: Row) -> sa.ColumnElement[bool]:
        return sa.and_(*(column == row[at[column]] for column in keys))

    def update(row: Row, values: Values) -> sa.Executable:
        every = {column: row[at[column]] for column in touched} | values
        return sa.update(table).where(key(row)).values(every)

    yield Template("page", lambda _: sa.select(*columns).order_by(*keys).limit(20), False)

    def insert(row: Row) -> sa.Executable:
        new = postgresql.insert(table).values({column: row[at[column]] for column in sent})
        # ON CONFLICT is refused where a unique constraint is deferrable.
        deferrable = any(constraint.deferrable for constraint in table.constraints)
        return (new if deferrable else new.on_conflict_do_nothing()).returning(*filled)

    # The row exists already: PostgreSQL tries types, NOT NULL and checks before it notices.
    yield Template("insert", insert, True)
    if not keys:
        return
    yield Template("read", lambda row: sa.select(*columns).where(key(row)), False)
    if changed:
        yield Template("update", lambda row: update(row, {c: row[at[c]] for c in changed}), True)
    for column in changed:
        for what, value in _extremes(column):
            statement = partial(update, values={column: value})
            yield Template(f"update with {what} {column.name}", statement, True, True)


def _is_sent(column: sa.Column[Any]) -> bool:
    return _has_value(column.default) or not (
        column.server_default is not None
        or column.identity is not None
        or column.computed is not None
        or column.table.autoincrement_column is column
    )


def _has_value(default: Any) -> bool:
    """Whether a default is made in Python, and so is a value in the statement."""
    return default is not None and (default.is_scalar or default.is_callable)


def _extremes(column: sa.Column[Any]) -> Iterator[tuple[str, Any]]:
    """The values that a column has just room for."""
    kind = column.type
    if column.nullable:
        yield "no", None
    if column.foreign_keys or isinstance(kind, sa.Enum):
        return
    if isinstance(kind, sa.String):
        yield "the longest", "x" * (kind.length or 10_000)
    elif isinstance(kind, sa.Integer):
        bits = {sa.SmallInteger: 15, sa.BigInteger: 63}
        yield "the largest", 2 ** next((n for t, n in bits.items() if isinstance(kind, t)), 31) - 1
    elif isinstance(kind, sa.Numeric) and kind.precision and kind.asdecimal:
        yield "the largest", decimal.Decimal(10**kind.precision - 1).scaleb(-(kind.scale or 0))


# ---- As SQL and parameters for asyncpg


def _dialect() -> sa.Dialect:
    # The driver only makes values for types of its own, ranges for example.
    try:
        return asyncpg.dialect(dbapi=asyncpg.dialect.import_dbapi())  # type: ignore[no-untyped-call]
    except ImportError:
        return asyncpg.dialect()  # type: ignore[no-untyped-call]


def _request(
    table: sa.Table, template: Template, rows: Sequence[Row], dialect: sa.Dialect
) -> dict[str, Any] | None:
    """The statement for each row; None where it cannot be written down."""
    try:
        sent = [_compiled(template.statement(row), dialect) for row in rows]
    # Types refuse values in their own ways.
    except Exception:
        return None
    if not all(map(_is_plain, sent)):
        return None
    return {
        "table": table.fullname,
        "kind": template.kind,
        "writes": template.writes,
        "is_extreme": template.is_extreme,
        "sent": sent,
    }


def _compiled(statement: Any, dialect: sa.Dialect) -> tuple[str, tuple[Any, ...]]:
    compiled = statement.compile(dialect=dialect)
    values = []
    for name in compiled.positiontup or ():
        parameter = compiled.binds[name]
        process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        value = parameter.effective_value
        values.append(process(value) if process else value)
    return compiled.string, tuple(values)


PLAIN = {
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    decimal.Decimal,
    uuid.UUID,
    datetime.date,
    datetime.time,
    datetime.datetime,
    datetime.timedelta,
    ipaddress.IPv4Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Address,
    ipaddress.IPv6Interface,
    ipaddress.IPv6Network,
}


def _is_plain(value: Any) -> bool:
    """Whether every Python with asyncpg can read the value."""
    if type(value) in (tuple, list):
        return all(map(_is_plain, value))
    return type(value) in PLAIN or type(value).__module__.startswith("asyncpg.")


def main() -> None:
    output, ini, toml, section = sys.argv[1:]
    # Alembic knows pyproject.toml since 1.16.
    if toml:
        config = Config(ini or None, toml_file=toml, ini_section=section)
    else:
        config = Config(ini, ini_section=section)
    try:
        found = read(config)
    except SQLAlchemyError as error:
        raise SystemExit(str(error).partition("\n")[0]) from error
    Path(output).write_bytes(pickle.dumps(found, protocol=4))


if __name__ == "__main__":
    main()
