"""The service at work while its schema changes: readers and writers on every table.

They are what the version before the change would send through SQLAlchemy and asyncpg, prepared
statements and their cache included: every column by its name, values of the types of that time.

`python -m slipway.rehearse.traffic.worker` is the readers and writers, as a process of its own:
it reads a `Load` from the first line of its input, works until the input ends, and prints its
requests.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import cycle, islice

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from slipway.rehearse.seeding.catalogue import (
    CatalogTable,
    read_tables,
    read_tables_at,
    with_checks_of,
)
from slipway.rehearse.seeding.rows import Planner, in_order
from slipway.rehearse.traffic.client import Load
from slipway.rehearse.traffic.script import SUPPLY, Control, Job, find_supply, read_script

# Of a request, in seconds.
TIMEOUT = 30
# How often everything is sent without a pause before the traffic counts as running: the server's
# plans of prepared statements are what they stay after five.
WARM = 6
# Requests that are kept, some hundred bytes each; beyond it every second is dropped.
KEPT = 400_000
# Requests in a line of the output.
LINE = 1000
# Connections left to the migration and to observers.
RESERVED = 20


class RequestLog:
    """Requests in bounded memory: of too many, every second is dropped, evenly over time; the
    longest of each kind and the first with each error stay."""

    def __init__(self, most: int = KEPT) -> None:
        self.most = most
        self.requests: list[tuple[str, str, float, float, str]] = []
        self.sent: Counter[tuple[str, str]] = Counter()

    def add(self, table: str, kind: str, started: float, seconds: float, error: str) -> None:
        self.sent[table, kind] += 1
        self.requests.append((table, kind, started, seconds, error))
        if len(self.requests) > self.most:
            self._thin()

    def _thin(self) -> None:
        longest: dict[tuple[str, str], tuple[float, int]] = {}
        first: dict[tuple[str, str, str], int] = {}
        for place, (table, kind, _, seconds, error) in enumerate(self.requests):
            longest[table, kind] = max((seconds, place), longest.get((table, kind), (0.0, 0)))
            first.setdefault((table, kind, error), place)
        stay = {place for _, place in longest.values()} | set(first.values())
        self.requests = [
            request for place, request in enumerate(self.requests) if place % 2 or place in stay
        ]

    def refused(self) -> dict[tuple[str, str], str]:
        """Error per (table, kind) for which every request failed."""
        errors = {(table, kind): error for table, kind, _, _, error in self.requests if error}
        passed = {(table, kind) for table, kind, _, _, error in self.requests if not error}
        return {request: error for request, error in errors.items() if request not in passed}

    def clear(self) -> None:
        self.requests.clear()
        self.sent.clear()


async def _main() -> None:
    load = Load(**json.loads(sys.stdin.readline()))
    url = make_url(load.url).set(drivername="postgresql+asyncpg")
    supplier = create_async_engine(url, pool_size=1, max_overflow=0)
    try:
        later = await read_tables_at(make_url(load.later)) if load.later else ()
        async with supplier.connect() as connection:
            jobs, silent = await _jobs(connection, load, later)
            limit = await connection.exec_driver_sql("SHOW max_connections")
            most = max(2, int(limit.scalar_one()) - RESERVED)
            await connection.rollback()
    except (DBAPIError, OSError) as error:
        print(json.dumps({"error": str(error).partition("\n")[0]}), flush=True)
        return
    workers: list[list[Job | Control]] = [[Control()], *([] for _ in jobs[: most - 1])]
    for place, job in enumerate(jobs):
        workers[1 + place % (len(workers) - 1)].append(job)
    # A connection for each, or it would be chance who meets a plan that it has prepared.
    engines = [
        create_async_engine(
            url,
            pool_size=1,
            max_overflow=0,
            connect_args={
                "command_timeout": TIMEOUT,
                "server_settings": {"application_name": "rehearse: traffic"},
            },
        )
        for _ in workers
    ]
    log = RequestLog()
    refill = asyncio.create_task(_refill(supplier, jobs))
    at_work = list(zip(engines, workers, strict=True))
    await asyncio.gather(*(_warm_up(engine, jobs, log) for engine, jobs in at_work))
    for (title, kind), why in log.refused().items():
        silent.setdefault(title, f"{kind} fails already, {why}")
        for job in jobs:
            if job.title == title:
                job.kinds = tuple(other for other in job.kinds if other != kind)
    log.clear()
    stop = asyncio.Event()
    pause = max(1, load.workers) / load.rate
    begun = time.monotonic()
    tasks = [
        asyncio.create_task(_work(engine, jobs, begun, pause / len(jobs), log, stop))
        for engine, jobs in at_work
    ]
    print(json.dumps({"silent": silent}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    stop.set()
    await asyncio.gather(*tasks)
    refill.cancel()
    await asyncio.gather(refill, return_exceptions=True)
    sent = [(table, kind, number) for (table, kind), number in log.sent.items()]
    for start in range(0, len(log.requests), LINE):
        print(json.dumps({"requests": log.requests[start : start + LINE]}))
    print(json.dumps({"sent": sent}), flush=True)
    for engine in (*engines, supplier):
        await engine.dispose()


async def _jobs(
    connection: AsyncConnection, load: Load, later: Sequence[CatalogTable]
) -> tuple[list[Job], dict[str, str]]:
    """What to send to each table, and why some are not written."""
    there = with_checks_of(later, await read_tables(connection))
    tables = [table for group in in_order(there) for table in group]
    planner = Planner(connection, tables, 0)
    for table in tables:
        await planner.keep(table)
    jobs: list[Job] = []
    silent: dict[str, str] = {}
    for table in tables:
        names: Collection[str] = table.by_name
        if load.columns is not None:
            names = load.columns.get(table.schema, {}).get(table.name, ())
        script = await read_script(connection, table, names)
        if script is None:
            silent[table.title] = "nothing of it is touched"
            continue
        found = await find_supply(connection, script, await planner.plan_more(table))
        if isinstance(found, str):
            silent[table.title] = found
        supply = None if isinstance(found, str) else found
        reads = (*(["read"] if script.key and script.rows else []), "page")
        updates = script.key and script.rows and script.updated
        writes = (*(["insert"] if supply else []), *(["update"] if updates else []))
        if load.workers < 2:
            jobs.append(Job(script, (*reads, *writes), supply))
        else:
            jobs += [Job(script, reads, None) for _ in range((load.workers + 1) // 2)]
            jobs += [Job(script, writes, supply) for _ in range(load.workers // 2) if writes]
    return jobs, silent


async def _warm_up(engine: AsyncEngine, jobs: Sequence[Job | Control], log: RequestLog) -> None:
    """Send everything a few times, so that all statements are prepared."""
    for job in islice(cycle(jobs), WARM * _everything(jobs)):
        await _send(engine, job, log)


def _everything(jobs: Sequence[Job | Control]) -> int:
    return len(jobs) * max(len(job.kinds) for job in jobs)


async def _work(
    engine: AsyncEngine,
    jobs: Sequence[Job | Control],
    due: float,
    pause: float,
    log: RequestLog,
    stop: asyncio.Event,
) -> None:
    """Send one request at a time, each so long after the one before, whatever happens to it.

    Everything is sent once more after the end, so that nothing that a change broke goes unnoticed,
    however soon it was done.
    """
    turns = cycle(jobs)
    while not stop.is_set():
        await _send(engine, next(turns), log, due=due)
        due = max(due + pause, time.monotonic())
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), due - time.monotonic())
    for job in islice(turns, _everything(jobs)):
        await _send(engine, job, log, last=True)


async def _send(
    engine: AsyncEngine,
    job: Job | Control,
    log: RequestLog,
    *,
    due: float | None = None,
    last: bool = False,
) -> None:
    request = job.next(last=last)
    if request is None:
        return
    kind, statement = request
    started, error = time.monotonic(), ""
    if due is not None and isinstance(job, Control):
        # Where it comes late, this process has waited for the machine.
        started = due
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement.sql, statement.parameters)
    # Whatever it is, the service would go on.
    except Exception as failure:
        error = _described(failure)
    log.add(job.title, kind, started, time.monotonic() - started, error)


async def _refill(engine: AsyncEngine, jobs: Sequence[Job]) -> None:
    """See to it that there are new rows, as long as their types are what they were."""
    while True:
        await asyncio.sleep(0.5)
        for job in jobs:
            supply = job.supply
            if supply and not supply.complete and len(supply.waiting) < SUPPLY / 4:
                try:
                    async with engine.connect() as connection:
                        await supply.fetch(connection, SUPPLY)
                except (DBAPIError, OSError):
                    supply.complete = True


def _described(error: Exception) -> str:
    """An error by the name that asyncpg or SQLAlchemy has for it, and its first line."""
    found: BaseException = error
    if isinstance(error, DBAPIError) and error.orig:
        found = error.orig
        if type(found).__name__ != "InvalidCachedStatementError" and found.__cause__:
            found = found.__cause__
    return f"{type(found).__name__}: {str(found).partition(chr(10))[0]}"


if __name__ == "__main__":
    asyncio.run(_main())
