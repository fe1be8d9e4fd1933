"""Changes many rows while they are read and written: in batches, each a short transaction."""

from collections.abc import Iterator, Sequence

from alembic.util import CommandError
from sqlalchemy import Connection, text

# Rows per transaction: few enough that a writer who meets one waits for milliseconds.
BATCH_SIZE = 1000


def update_in_batches(
    connection: Connection,
    table: str,
    assignment: str,
    *,
    where: str,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Update all rows that meet a condition, along the primary key.

    Rows that somebody holds are passed over, so that nobody queues behind the batch that would wait
    for them, and done at the end, under the lock timeout. After an interruption it can be run
    again: `where` leaves out what is done.

    Args:
        connection: in autocommit mode.
        table: the name of the table, quoted as SQL needs it, with its schema if it has one.
        assignment: what follows SET, as SQL.
        where: the condition as SQL; a row that is updated must no longer meet it.

    Raises:
        CommandError: the table has no primary key.
    """
    key = connection.scalars(PRIMARY_KEY, {"table": table}).all()
    if not key:
        raise CommandError(
            f"{table} has no primary key, along which it could be updated in batches"
        )
    columns = ", ".join(key)
    for interval, bounds in _intervals(connection, table, key, batch_size):
        connection.execute(
            text(
                f"UPDATE {table} SET {assignment} WHERE ({columns}) IN (SELECT {columns}"  # noqa: S608
                f" FROM {table} WHERE {interval} AND ({where}) FOR UPDATE SKIP LOCKED)"
            ),
            bounds,
        )
    connection.execute(text(f"UPDATE {table} SET {assignment} WHERE {where}"))  # noqa: S608


def _intervals(
    connection: Connection, table: str, key: Sequence[str], batch_size: int
) -> Iterator[tuple[str, dict[str, object]]]:
    """Conditions that cut the table into pieces of this many rows, with their parameters."""
    columns = ", ".join(key)
    bounds: dict[str, object] = {}
    interval = "true"
    after = f"({columns}) > ({', '.join(f':after{number}' for number in range(len(key)))})"
    until = f"({columns}) <= ({', '.join(f':until{number}' for number in range(len(key)))})"
    while last := connection.execute(
        text(
            f"SELECT {columns} FROM {table} WHERE {interval}"  # noqa: S608
            f" ORDER BY {columns} OFFSET {batch_size - 1} LIMIT 1"
        ),
        bounds,
    ).one_or_none():
        upper = {f"until{number}": value for number, value in enumerate(last)}
        yield f"{interval} AND {until}", bounds | upper
        interval, bounds = after, {f"after{number}": value for number, value in enumerate(last)}
    yield interval, bounds


PRIMARY_KEY = text("""
SELECT quote_ident(attname) FROM pg_index
JOIN LATERAL unnest(indkey) WITH ORDINALITY AS part(attnum, place) ON true
JOIN pg_attribute ON attrelid = indrelid AND pg_attribute.attnum = part.attnum
WHERE indisprimary AND indrelid = to_regclass(:table) ORDER BY place
""")
