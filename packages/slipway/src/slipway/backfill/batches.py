"""The SQL of a backfill: how a table is walked along its primary key, and a batch is changed.

Values of keys travel as text, which every type can be cast to and from: the server does both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from slipway.backfill.definition import Backfill, BackfillError, ChangeFunction
from slipway.backfill.statement import PARAMETER, BackfillStatement

Position = tuple[str, ...]
# The key of a row as one text, beside its columns.
KEY = "key of backfill"


@dataclass(frozen=True)
class BackfillTable:
    """A table with the columns of its primary key in order; `rows` is the planner's estimate."""

    name: str
    key: Sequence[str]
    types: Sequence[str]
    rows: int | None

    @property
    def columns(self) -> str:
        return ", ".join(self.key)


@dataclass(frozen=True)
class Batch:
    """The rows whose keys come after one and up to another; None is the end of the table."""

    after: Position | None
    until: Position | None
    rows: int


def find_table(connection: Connection, name: str) -> BackfillTable:
    """Look a table up.

    Raises:
        BackfillError: it does not exist, or has no primary key.
    """
    found = connection.execute(TABLE, {"name": name}).one_or_none()
    if not found:
        raise BackfillError(f"There is no table {name}: are the migrations applied?")
    if not found.key:
        raise BackfillError(
            f"{name} has no primary key, along which it could be updated in batches"
        )
    return BackfillTable(name, found.key, found.types, found.rows if found.rows > 0 else None)


def next_batch(
    connection: Connection, table: BackfillTable, after: Position | None, size: int
) -> Batch:
    """The batch that follows a position, of `size` rows unless it is the last."""
    last = end_of_batch(table, after, size).execute(connection).one_or_none()
    if last is None or last.rows < size:
        return Batch(after, None, last.rows if last else 0)
    return Batch(after, tuple(last[1:]), size)


def end_of_batch(table: BackfillTable, after: Position | None, size: int) -> BackfillStatement:
    interval, parameters = _interval(table, Batch(after, None, size))
    values = ", ".join(f"{column}::text" for column in table.key)
    # With the name of the table: without, it would be the text that is sorted.
    backwards = ", ".join(f"batch.{column} DESC" for column in table.key)
    return BackfillStatement(
        f"SELECT count(*) OVER () AS rows, {values} FROM ("
        f"SELECT {table.columns} FROM {table.name} WHERE {interval}"
        f" ORDER BY {table.columns} LIMIT {size}) AS batch ORDER BY {backwards} LIMIT 1",
        parameters,
    )


@dataclass(frozen=True)
class BatchResult:
    """Numbers of rows: locked because they met `where`, changed, and still meeting it."""

    locked: int
    changed: int
    still_needed: int


def change(
    connection: Connection,
    backfill: Backfill,
    table: BackfillTable,
    batch: Batch,
    *,
    wait: bool = False,
) -> BatchResult:
    """Change the rows of a batch that need it and are not locked, within its transaction.

    Args:
        wait: change one of them, and wait for it if another session holds it.

    Raises:
        BackfillError: a row that was changed still needs it.
    """
    statement = locking(backfill, table, batch, wait=wait)
    if isinstance(backfill.change, str):
        result = BatchResult(*(int(str(n)) for n in statement.execute(connection).one()))
    else:
        rows = [dict(row._mapping) for row in statement.execute(connection)]
        keys = [row.pop(KEY) for row in rows]
        check = _still_needed(backfill, table, batch, keys)
        result = BatchResult(len(rows), len(rows), _call(connection, backfill.change, rows, check))
    if result.still_needed:
        raise BackfillError(
            f"{result.still_needed} of {result.changed} rows of {table.name} still meet "
            f"{backfill.where!r} after they were updated: write `where` so that it leaves out what "
            "is done"
        )
    return result


def locking(
    backfill: Backfill, table: BackfillTable, batch: Batch, *, wait: bool = False
) -> BackfillStatement:
    """Lock the rows of a batch; change them too, where SQL says how.

    A batch costs the same wherever it is, though the planner may think that an interval of keys is
    one row or half of the table: the limit, which is true anyway, makes it follow the key, and `IS
    TRUE` keeps it from a join. The lock lets others insert rows that refer to these.
    """
    interval, parameters = _interval(table, batch)
    by_sql = isinstance(backfill.change, str)
    columns = table.columns if by_sql else f'ROW({table.columns})::text AS "{KEY}", {table.name}.*'
    lock = (
        f"SELECT {columns} FROM {table.name}"
        f" WHERE {interval} AND ({backfill.where})"
        f" ORDER BY {table.columns} LIMIT {1 if wait else batch.rows}"
        f" FOR NO KEY UPDATE{'' if wait else ' SKIP LOCKED'}"
    )
    if not by_sql:
        return BackfillStatement(lock, parameters)
    return BackfillStatement(
        f"WITH backfill_locked AS MATERIALIZED ({lock}),"
        f" backfill_changed AS (UPDATE {table.name} SET {backfill.change}"
        f" WHERE {interval}"
        f" AND (({table.columns}) IN (SELECT {table.columns} FROM backfill_locked)) IS TRUE"
        f" RETURNING ({backfill.where}) AS still_needed)"
        " SELECT (SELECT count(*) FROM backfill_locked), count(*),"
        " count(*) FILTER (WHERE still_needed) FROM backfill_changed",
        parameters * 2,
    )


def _call(
    connection: Connection,
    change_rows: ChangeFunction,
    rows: list[dict[str, object]],
    check: BackfillStatement,
) -> int:
    if not rows:
        return 0
    change_rows(connection, rows)
    [still_needed] = check.execute(connection).scalars()
    return int(str(still_needed))


def _still_needed(
    backfill: Backfill, table: BackfillTable, batch: Batch, keys: list[object]
) -> BackfillStatement:
    interval, parameters = _interval(table, batch)
    return BackfillStatement(
        f"SELECT count(*) FROM {table.name}"
        f" WHERE {interval} AND ROW({table.columns})::text = ANY({PARAMETER}::text[])"
        f" AND ({backfill.where})",
        (*parameters, keys),
    )


def _interval(table: BackfillTable, batch: Batch) -> tuple[str, tuple[str, ...]]:
    conditions: list[str] = []
    parameters: tuple[str, ...] = ()
    values = ", ".join(f"{PARAMETER}::text::{kind}" for kind in table.types)
    for comparison, position in ((">", batch.after), ("<=", batch.until)):
        if position is not None:
            conditions.append(f"({table.columns}) {comparison} ({values})")
            parameters += position
    return " AND ".join(conditions) or "true", parameters


# What an index merely includes is no part of its key.
TABLE = text("""
SELECT c.reltuples::bigint AS rows,
       array_agg(quote_ident(attname) ORDER BY place) FILTER (WHERE attname IS NOT NULL) AS key,
       array_agg(format_type(atttypid, atttypmod) ORDER BY place) AS types
FROM pg_class AS c
LEFT JOIN pg_index ON indrelid = c.oid AND indisprimary
LEFT JOIN LATERAL unnest(indkey) WITH ORDINALITY AS part(attnum, place) ON place <= indnkeyatts
LEFT JOIN pg_attribute AS a ON attrelid = c.oid AND a.attnum = part.attnum
WHERE c.oid = to_regclass(:name) GROUP BY c.oid
""")
