"""The version that is running, as a process that serves: it sends that version's statements.

`python -m slipway.overlap.service URL STATEMENTS` reads what `statements.py` wrote. It prints a
line of JSON once all statements are prepared, and then, for each line that it is sent, one with
what failed since; before that it has sent everything once more.
"""

import asyncio
import json
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from slipway.errors import message_of, sqlstate

PAUSE = 0.001
# SQLSTATE (PostgreSQL manual, appendix A)
CHECK_VIOLATION, NOT_NULL_VIOLATION = "23514", "23502"
EXISTS = {"23505", "23P01"}  # unique_violation, exclusion_violation
FEATURE_NOT_SUPPORTED = "0A000"


@dataclass(frozen=True, kw_only=True)
class ServiceRequest:
    """A statement as it is sent for each of a few rows.

    Attributes:
        table: Its name, with the schema where that is not the default.
        kind: What it does.
        sent: SQL for asyncpg with its parameters, once for each row.
        is_extreme: Whether a value is not of a row, but what its column has just room for.
    """

    table: str
    kind: str
    writes: bool
    is_extreme: bool
    sent: Sequence[tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True, kw_only=True)
class RefusedRequest:
    """A request that failed.

    Attributes:
        is_stale: Whether the statement would have worked in a new process.
        is_narrower: Whether made-up values were refused by NOT NULL or a check.
    """

    table: str
    kind: str
    error: str
    sql: str
    is_stale: bool
    is_narrower: bool


@dataclass
class ServiceWorker:
    """Sends its requests all the time, on one connection."""

    requests: list[ServiceRequest]
    rounds: int = 0
    ended: asyncio.Condition = field(default_factory=asyncio.Condition)
    refused: list[RefusedRequest] = field(default_factory=list)
    known: set[RefusedRequest] = field(default_factory=set)

    async def work(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            # What fails already, as a check may forbid the longest text, says nothing later.
            self.requests = [r for r in self.requests if not await self._send(connection, r)]
            while True:
                for request in self.requests:
                    # In two steps: `+=` would take the list before the wait, and `take` a new one.
                    refused = await self._send(connection, request)
                    self.refused += refused
                async with self.ended:
                    self.rounds += 1
                    self.ended.notify_all()
                await asyncio.sleep(PAUSE)

    async def _send(
        self, connection: AsyncConnection, request: ServiceRequest
    ) -> list[RefusedRequest]:
        found = []
        for sql, parameters in request.sent:
            await asyncio.sleep(PAUSE)
            try:
                try:
                    await connection.exec_driver_sql(sql, parameters)
                finally:
                    # What it wrote goes, so that the rows stay as they are.
                    await connection.rollback()
            except (SQLAlchemyError, OSError) as error:
                if not (request.kind == "insert" and sqlstate(error) in EXISTS):
                    found.append(_refused(request, sql, error))
        return found

    async def complete_round(self) -> None:
        """Wait until all was sent once more; the round that is under way does not count."""
        end = self.rounds + 2
        async with self.ended:
            await self.ended.wait_for(lambda: self.rounds >= end)

    def take(self) -> list[RefusedRequest]:
        """Return what failed since the last time; once if it always does."""
        taken = [r for r in dict.fromkeys(self.refused) if r not in self.known]
        self.known |= {refused for refused in taken if not refused.is_stale}
        self.refused = []
        return taken


def _refused(request: ServiceRequest, sql: str, error: Exception) -> RefusedRequest:
    code, message = sqlstate(error), message_of(error)
    return RefusedRequest(
        table=request.table,
        kind=request.kind,
        error=message,
        sql=sql,
        is_stale=code == FEATURE_NOT_SUPPORTED and "cached" in message,
        is_narrower=request.is_extreme and code in {CHECK_VIOLATION, NOT_NULL_VIOLATION},
    )


async def serve(
    url: str,
    requests: Sequence[ServiceRequest],
    settings: dict[str, str],
    answer: Callable[[object], None],
) -> None:
    """Send the requests until the input ends."""
    engine = create_async_engine(
        url,
        pool_size=2,
        max_overflow=0,
        # As in a process that uses few tables often: all its statements stay prepared.
        connect_args={
            "command_timeout": 60,
            "prepared_statement_cache_size": 100_000,
            "server_settings": settings,
        },
    )
    workers = [ServiceWorker([r for r in requests if r.writes is w]) for w in (True, False)]
    questions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(questions), sys.stdin
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker.work(engine)) for worker in workers]
        await _round(workers)
        answer("ready")
        while await questions.readline():
            await _round(workers)
            answer([asdict(refused) for worker in workers for refused in worker.take()])
        for task in tasks:
            task.cancel()
    await engine.dispose()


async def _round(workers: Sequence[ServiceWorker]) -> None:
    await asyncio.gather(*(worker.complete_round() for worker in workers))


def main() -> None:
    url, statements = sys.argv[1:]
    # Written by code of the project, which overlap runs anyway.
    found = pickle.loads(Path(statements).read_bytes())  # noqa: S301
    requests = [ServiceRequest(**request) for request in found["requests"]]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    asyncio.run(serve(url, requests, {"search_path": found["search_path"]}, answer))


if __name__ == "__main__":
    main()
