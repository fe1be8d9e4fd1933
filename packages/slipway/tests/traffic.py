"""The service at work while its schema changes: readers, writers, and a client that is slow.

`python -m packages.slipway.tests.traffic` is the readers and writers, as a process of its own: it
reads a `Service` from a line of its input, works until the next line, prints its requests, and
begins again. One serves all tests of a worker: to import SQLAlchemy takes longer than most of them
need it for.
"""

import asyncio
import atexit
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from packages.slipway.tests.processes import environment
from packages.slipway.tests.rows import ROOT, Rows, load

# How often a worker asks: enough to be there at any moment, little enough to leave the machine
# idle, so that a wait is a lock and not a lack of time.
PAUSE = 0.004
WARM = 25
CONTROL = "(none)"


@dataclass(frozen=True)
class Service:
    """The service before the change: what it may touch is in `Rows`."""

    url: str
    before: str
    after: str
    values: Mapping[str, Sequence[object]]
    count: int
    both: bool

    def rows(self) -> Rows:
        with tempfile.TemporaryDirectory() as folder:
            before, after = (load(source, Path(folder)) for source in (self.before, self.after))
        return Rows(before, after, self.values, self.count, self.both)


@dataclass(frozen=True)
class Request:
    table: str
    kind: str
    start: float
    seconds: float
    error: str | None

    @property
    def is_stale_plan(self) -> bool:
        """Each process of asyncpg gets this once when the type of a column changes, also by a
        change that is free."""
        return self.error is not None and "InvalidCachedStatementError" in self.error


@contextmanager
def traffic(service: Service) -> Iterator[list[Request]]:
    """Let the service work until the block ends; the list then has its requests."""
    requests: list[Request] = []
    process = _process()
    assert process.stdin
    assert process.stdout
    try:
        print(json.dumps(asdict(service)), file=process.stdin, flush=True)
        assert process.stdout.readline() == "ready\n"
        yield requests
        print("stop", file=process.stdin, flush=True)
        requests += [Request(**fields) for fields in json.loads(process.stdout.readline())]
    except BaseException:
        # It may still be at work for this service.
        _process.cache_clear()
        process.kill()
        process.communicate()
        raise


@cache
def _process() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "packages.slipway.tests.traffic"],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(ROOT)}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.communicate()  # which ends its input


@contextmanager
def slow_client(url: str, rows: Rows, seconds: float) -> Iterator[None]:
    """A client that has read and changed a row of each table and then forgets to commit.

    It does so this much longer once somebody waits for it: everybody who comes later queues behind
    that one, who should not wait for long.
    """
    ended = threading.Event()
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection, psycopg.connect(url, autocommit=True) as observer:
        for table in rows.before.sorted_tables:
            # Nobody else changes the last row: that would be a wait for the client itself.
            key = _key(rows, table, rows.count)
            connection.execute(sa.select(table).where(key))
            column = next(c for c in reversed(table.columns) if c.computed is None)
            connection.execute(sa.update(table).where(key).values({column: column}))
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))

        def be_slow() -> None:
            while not ended.wait(0.02):
                if observer.execute(WAITING, (pid,)).fetchone() != (0,):
                    ended.wait(seconds)
                    break
            connection.rollback()

        thread = threading.Thread(target=be_slow)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
    engine.dispose()


WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND %s = ANY(pg_blocking_pids(pid))
"""


def _key(rows: Rows, table: sa.Table, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(*(c == rows.value(c, number) for c in table.primary_key.columns))


# ---- The process


Statement = Callable[[int], sa.Executable]


def _statements(rows: Rows, table: sa.Table) -> tuple[dict[str, Statement], dict[str, Statement]]:
    """What the readers and the writers of a table send, by the number of a row."""
    columns, keys = rows.columns(table), list(table.primary_key.columns)
    read: dict[str, Statement] = {
        "read": lambda number: sa.select(*columns).where(_key(rows, table, number)),
        "page": lambda _: sa.select(*columns).order_by(*keys).limit(20),
    }
    write: dict[str, Statement] = {}
    if inserted := rows.insert(table):
        # The ORM asks for what the server has filled in, as the template's base wants it.
        filled = [column for column in columns if column not in inserted] or keys
        write["insert"] = lambda number: (
            sa.insert(table)
            .values({column: rows.value(column, rows.count + number) for column in inserted})
            .returning(*filled)
        )
    if updated := rows.update(table):
        write["update"] = lambda number: (
            sa.update(table)
            .where(_key(rows, table, number))
            .values({column: rows.value(column, number) for column in updated})
        )
    return read, write


async def _work(service: Service) -> list[Request]:
    rows = service.rows()
    workers: list[tuple[str, dict[str, Statement]]] = [
        (table.fullname, statements)
        for table in rows.tables
        for statements in _statements(rows, table)
        if statements
    ]
    # It touches no table, so what it waits for is the machine.
    workers.append((CONTROL, {"control": lambda _: sa.text("SELECT 1")}))
    engine = create_async_engine(
        service.url.replace("postgresql://", "postgresql+asyncpg://"),
        pool_size=len(workers),
        max_overflow=0,
        connect_args={"command_timeout": 30, "server_settings": {"application_name": "web"}},
    )
    requests: list[Request] = []
    stop = asyncio.Event()
    warm = [asyncio.Event() for _ in workers]
    tasks = [
        asyncio.create_task(_send(engine, table, statements, service.count, requests, event, stop))
        for (table, statements), event in zip(workers, warm, strict=True)
    ]
    await _all(event.wait() for event in warm)
    requests.clear()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    stop.set()
    await asyncio.gather(*tasks)
    await engine.dispose()
    return requests


async def _send(
    engine: AsyncEngine,
    table: str,
    statements: Mapping[str, Statement],
    rows: int,
    requests: list[Request],
    warm: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    due = time.monotonic()
    for number in count(1):
        for kind, statement in statements.items():
            # The last row belongs to the slow client.
            row = number if kind == "insert" else number % (rows - 1) + 1
            # One that measures the machine has begun when it was due.
            start, error = due if table == CONTROL else time.monotonic(), None
            try:
                async with engine.begin() as connection:
                    await connection.execute(statement(row))
            except (DBAPIError, OSError, sa.exc.TimeoutError) as failure:
                error = str(failure).partition("\n[")[0]
            seconds = time.monotonic() - start
            requests.append(Request(table, kind, start, seconds, error))
            due = time.monotonic() + PAUSE
            await asyncio.sleep(PAUSE)
        if number == WARM:
            warm.set()
        if stop.is_set():
            return


async def _all(waits: Iterator[Awaitable[Any]]) -> None:
    await asyncio.gather(*waits)


if __name__ == "__main__":
    for line in sys.stdin:
        sent = asyncio.run(_work(Service(**json.loads(line))))
        print(json.dumps([asdict(request) for request in sent]), flush=True)
