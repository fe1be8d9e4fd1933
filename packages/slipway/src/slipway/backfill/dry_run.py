"""What a backfill would do, found out without changing anything."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from slipway.backfill import checkpoint
from slipway.backfill.batches import (
    BackfillTable,
    Position,
    end_of_batch,
    find_table,
    locking,
    next_batch,
)
from slipway.backfill.definition import Backfill
from slipway.backfill.statement import BackfillStatement
from slipway.backfill.walk import SETTINGS
from slipway.errors import sqlstate

# Seconds that the server may count.
COUNT_TIMEOUT = 5
QUERY_CANCELED = "57014"


@dataclass(frozen=True)
class DryRun:
    """What a run would do.

    Attributes:
        rows: of the table, by the planner's estimate; None if it was never analyzed.
        estimated: rows that need it, by the planner's estimate.
        counted: rows that need it, exactly; None where counting took too long.
        batches: number of batches; None where `rows` is.
        after: the key after which it would continue; None for the start of the table.
        statements: how the next batch is found, and changed.
        plan: how PostgreSQL would run them.
        scans: whether each batch would read the whole table, in a subquery of `where` for example.
    """

    table: str
    rows: int | None
    estimated: int
    counted: int | None
    batches: int | None
    after: Position | None
    statements: list[str]
    plan: list[str]
    scans: bool


def dry_run(connection: Connection, backfill: Backfill, name: str, batch_size: int) -> DryRun:
    """Ask the server what a run would do, in read-only transactions.

    Raises:
        BackfillError: it cannot be run as it is written.
        DBAPIError: the SQL of the backfill is wrong.
    """
    with connection.begin():
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        for setting in SETTINGS:
            connection.exec_driver_sql(f"SET LOCAL {setting} = off")
        table = find_table(connection, backfill.table)
        start = checkpoint.read(connection, name, backfill)
        batch = next_batch(connection, table, start.after, batch_size)
        needing = f"SELECT FROM {table.name} WHERE {backfill.where}"
        steps = end_of_batch(table, start.after, batch_size), locking(backfill, table, batch)
        statements = [step.literal() for step in steps]
        estimated = _plans(connection, needing)[0]["Plan Rows"]
        plan = [
            line
            for statement in statements
            for line in BackfillStatement(f"EXPLAIN {statement}").execute(connection).scalars()
        ]
        # Of no rows, any plan reads all.
        scans = batch.rows > 0 and any(_scans(connection, table, one) for one in statements)
    batches = None if table.rows is None else ceil(max(table.rows - start.seen, 1) / batch_size)
    return DryRun(
        table=table.name,
        rows=table.rows,
        estimated=estimated,
        counted=_count(connection, needing),
        batches=batches,
        after=start.after,
        statements=statements,
        plan=plan,
        scans=scans,
    )


def _count(connection: Connection, query: str) -> int | None:
    try:
        with connection.begin():
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}s'")
            count = BackfillStatement(f"SELECT count(*) FROM ({query}) AS needing")
            return int(str(count.execute(connection).scalar_one()))
    except DBAPIError as error:
        if sqlstate(error) != QUERY_CANCELED:
            raise
        return None


def _scans(connection: Connection, table: BackfillTable, statement: str) -> bool:
    relations = set(connection.scalars(RELATIONS, {"name": table.name}))
    return any(
        node["Node Type"] == "Seq Scan" and node["Relation Name"] in relations
        for node in _plans(connection, statement)
    )


def _plans(connection: Connection, statement: str) -> list[dict[str, Any]]:
    """The nodes of a plan, from the root downwards."""
    explain = BackfillStatement(f"EXPLAIN (FORMAT JSON) {statement}")
    explained: Any = explain.execute(connection).scalar_one()
    [root] = json.loads(explained) if isinstance(explained, str) else explained
    return list(_descend(root["Plan"]))


def _descend(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _descend(child)


# The table and its partitions.
RELATIONS = text("""
SELECT relname FROM pg_class WHERE oid = to_regclass(:name)
OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass(:name)))
""")
