"""The version that is running, as a process that serves: its models say what it sends.

It is run by its path in the environment of that version, and so knows SQLAlchemy and Alembic only.
It prints a line of JSON once all its statements are prepared, and then, for each line that it is
sent, one with what failed since; before that it has sent everything once more.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

ROWS = 3
PAUSE = 0.001
Row = Sequence[Any]


@dataclass(frozen=True)
class Request:
    """A statement that a version sends, made from a row that is there; `kind` says what it does,
    `is_extreme` that a value is not of the row, but what its column has just room for."""

    table: sa.Table
    kind: str
    statement: Callable[[Row], sa.Executable]
    writes: bool
    is_extreme: bool = False


@dataclass(frozen=True)
class Failure:
    """`is_stale` where a statement would have worked in a new process."""

    table: str
    kind: str
    error: str
    sql: str
    is_stale: bool
    is_extreme: bool


# ---- What it sends


def models() -> list[sa.Table]:
    """The tables that `env.py` compares with the database."""
    found: list[Any] = []

    def look(_: Any, context: Any) -> list[Any]:
        found.append(context.opts["target_metadata"])
        return []

    config = Config("alembic.ini", toml_file="pyproject.toml")
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=look):
        script.run_env()
    every = found[0] if isinstance(found[0], Sequence) else found
    return [table for metadata in every if metadata for table in metadata.sorted_tables]


def requests(table: sa.Table) -> Iterator[Request]:
    """What can be sent for a table; what it refuses from the beginning is sorted out later."""
    columns, keys = list(table.columns), list(table.primary_key.columns)
    at = {column: place for place, column in enumerate(columns)}
    sent = [column for column in columns if _is_sent(column)]
    filled = [column for column in columns if column not in sent] or keys or columns
    changed = [c for c in columns if not c.primary_key and not c.computed and not c.identity]

    def key(row: Row) -> sa.ColumnElement[bool]:
        return sa.and_(*(column == row[at[column]] for column in keys))

    def update(row: Row, values: dict[Any, Any]) -> sa.Executable:
        return sa.update(table).where(key(row)).values(values)

    yield Request(table, "page", lambda _: sa.select(*columns).order_by(*keys).limit(20), False)

    def insert(row: Row) -> sa.Executable:
        new = postgresql.insert(table).values({column: row[at[column]] for column in sent})
        # ON CONFLICT is refused where a unique constraint is deferrable.
        deferrable = any(constraint.deferrable for constraint in table.constraints)
        return (new if deferrable else new.on_conflict_do_nothing()).returning(*filled)

    # The row is there already: PostgreSQL tries types, NOT NULL and checks before it notices.
    yield Request(table, "insert", insert, True)
    if not keys:
        return
    yield Request(table, "read", lambda row: sa.select(*columns).where(key(row)), False)
    if changed:
        yield Request(
            table, "update", lambda row: update(row, {c: row[at[c]] for c in changed}), True
        )
    for column in changed:
        for what, value in _extremes(column):
            statement = partial(update, values={column: value})
            yield Request(table, f"update with {what} {column.name}", statement, True, True)


def _is_sent(column: sa.Column[Any]) -> bool:
    return not (
        column.server_default is not None
        or column.identity is not None
        or column.computed is not None
        or column.table.autoincrement_column is column
    )


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
        yield "the largest", Decimal(10 ** (kind.precision) - 1).scaleb(-(kind.scale or 0))


# ---- How it works


@dataclass
class Worker:
    """Sends its requests all the time, on one connection, with the same few rows."""

    requests: list[Request]
    rows: Mapping[sa.Table, Sequence[Row]]
    rounds: int = 0
    ended: asyncio.Condition = field(default_factory=asyncio.Condition)
    failures: list[Failure] = field(default_factory=list)
    known: set[Failure] = field(default_factory=set)

    async def work(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            # What fails already, as a check may forbid the longest text, says nothing later.
            self.requests = [r for r in self.requests if not await self._send(connection, r)]
            while True:
                for request in self.requests:
                    self.failures += await self._send(connection, request)
                async with self.ended:
                    self.rounds += 1
                    self.ended.notify_all()
                await asyncio.sleep(PAUSE)

    async def _send(self, connection: AsyncConnection, request: Request) -> list[Failure]:
        found = []
        for row in self.rows[request.table]:
            await asyncio.sleep(PAUSE)
            try:
                try:
                    await connection.execute(request.statement(row))
                finally:
                    # What it wrote goes, so that the rows stay as they are.
                    await connection.rollback()
            except (SQLAlchemyError, OSError) as error:
                if not (request.kind == "insert" and _is_there(error)):
                    found.append(_failure(request, error))
        return found

    async def complete_round(self) -> None:
        """Wait until all was sent once more; the round that is under way does not count."""
        end = self.rounds + 2
        async with self.ended:
            await self.ended.wait_for(lambda: self.rounds >= end)

    def take(self) -> list[Failure]:
        """What failed since the last time; once if it always does."""
        taken = [f for f in dict.fromkeys(self.failures) if f not in self.known]
        self.known |= {failure for failure in taken if not failure.is_stale}
        self.failures = []
        return taken


def _is_there(error: Exception) -> bool:
    """unique_violation and exclusion_violation (PostgreSQL manual, appendix A)."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in {"23505", "23P01"}


def _failure(request: Request, error: Exception) -> Failure:
    orig = getattr(error, "orig", None) or error
    # asyncpg's own error, where SQLAlchemy has wrapped it.
    cause = orig.__cause__ or orig
    name = type(cause).__name__
    return Failure(
        table=request.table.fullname,
        kind=request.kind,
        error=f"{name}: {(str(cause).splitlines() or [''])[0]}",
        sql=getattr(error, "statement", "") or "",
        is_stale=name == "InvalidCachedStatementError",
        is_extreme=request.is_extreme,
    )


async def serve(tables: Sequence[sa.Table], answer: Callable[[object], None]) -> None:
    """Send what these tables allow until the input ends."""
    engine = create_async_engine(
        json.loads(os.environ["SLIPWAY_REDIRECT"])["url"],
        pool_size=2,
        max_overflow=0,
        # As in a process that uses few tables often: all its statements stay prepared.
        connect_args={"command_timeout": 60, "prepared_statement_cache_size": 100_000},
    )
    rows = {table: await _rows(engine, table) for table in tables}
    every = [request for table in tables for request in requests(table)]
    workers = [Worker([r for r in every if r.writes is writes], rows) for writes in (True, False)]
    questions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(questions), sys.stdin
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker.work(engine)) for worker in workers]
        await _round(workers)
        answer({"empty": [table.fullname for table in tables if not rows[table]]})
        while await questions.readline():
            await _round(workers)
            answer([asdict(failure) for worker in workers for failure in worker.take()])
        for task in tasks:
            task.cancel()
    await engine.dispose()


async def _rows(engine: AsyncEngine, table: sa.Table) -> Sequence[Row]:
    async with engine.connect() as connection:
        try:
            return (await connection.execute(sa.select(table).limit(ROWS))).all()
        # Its models and its schema do not agree, or its types refuse the values, in their own ways.
        except Exception:
            return []


async def _round(workers: Sequence[Worker]) -> None:
    await asyncio.gather(*(worker.complete_round() for worker in workers))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the project prints is no answer

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    asyncio.run(serve(models(), answer))


if __name__ == "__main__":
    main()
