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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice, product
from typing import Any, cast

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from slipway.process import Child, environment, json_lines
from slipway.rehearse.model import CONTROL, Request
from slipway.rehearse.seeding.catalogue import (
    Column,
    Table,
    quoted,
    read_tables,
    tables_of,
    with_checks_of,
)
from slipway.rehearse.seeding.rows import Plan, Planner, in_order, reason

TIMEOUT = 30
PAGE = 20
# Rows of each table that are read and updated, new ones that are made at once, and where the
# numbers of these may begin: behind those of the rows that are there, however they came to be.
ROWS = 200
SUPPLY = 1000
BEGINNINGS = (1_000_000, 1_000_000_000)
# How often everything is sent without a pause before the traffic counts as running: the server's
# plans of prepared statements are what they stay after five.
WARM = 6
# Requests that are kept, some hundred bytes each; beyond it every second is dropped.
KEPT = 400_000
# Connections left to the migration and to whoever looks on.
RESERVED = 20


class TrafficError(Exception):
    """The traffic did not start or end; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to send: `rate` requests per second to each table, by `workers` of them, half of which
    read.

    With `columns`, only these tables (by schema and name) and columns of them are touched: what a
    version of the service knows from which a later revision takes the rest. A table that cannot be
    written without another column is read only. `later` is the URL of a database that has the
    schema to come: what is written meets its checks too.
    """

    url: str
    later: str = ""
    rate: float = 20
    workers: int = 2
    columns: Mapping[str, Mapping[str, Sequence[str]]] | None = None


@dataclass
class Traffic:
    """Requests since the traffic ran, complete once the block around it has ended.

    `sent` is how many there were by table and kind; of very many, `requests` has an even share.
    `silent` says which tables do not get all kinds of them, and why.
    """

    requests: list[Request] = field(default_factory=list)
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


@contextmanager
def traffic(load: Load) -> Iterator[Traffic]:
    """Let readers and writers work in a process of their own until the block ends.

    Raises:
        TrafficError: it does not start, or does not end.
    """
    found = Traffic()
    command = [sys.executable, "-m", "slipway.rehearse.traffic.worker"]
    with json_lines(command, env=environment(search_path=sys.path)) as child:
        child.send(asdict(load))
        started = _receive(child, "start", None)
        if "silent" not in started:
            raise TrafficError(f"The traffic did not start: {started['error']}")
        found.silent |= started["silent"]
        yield found
        child.close_input()
        ended = _receive(child, "end", 2 * TIMEOUT)
        found.requests += [_request(fields) for fields in ended["requests"]]
        found.sent |= {(table, kind): number for table, kind, number in ended["sent"]}


def _receive(child: Child, step: str, seconds: float | None) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", child.receive(seconds))
    except TimeoutError as late:
        raise TrafficError(f"The traffic did not {step} in {seconds:g} s") from late
    except EOFError as died:
        why = child.last_line() or f"exit code {child.exit_code()}"
        raise TrafficError(f"The traffic did not {step}: {why}") from died


def _request(fields: Sequence[Any]) -> Request:
    table, kind, started, seconds, error = fields
    return Request(table=table, kind=kind, started=started, seconds=seconds, error=error)


# ---- What is sent


@dataclass(frozen=True)
class Statement:
    """SQL with parameters that are text, cast to the types that the service knows."""

    sql: str
    parameters: tuple[str | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Script:
    """The statements of a table: rows that are there by their place, new ones by their number."""

    table: Table
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    rows: Sequence[Mapping[str, str | None]]
    inserted: tuple[Column, ...] = ()

    def read(self, place: int) -> Statement:
        where, parameters = self._where(place, 0)
        return Statement(f"{self._select} WHERE {where}", parameters)

    def page(self) -> Statement:
        order = ", ".join(quoted(column.name) for column in self.key)
        return Statement(f"{self._select}{f' ORDER BY {order}' if order else ''} LIMIT {PAGE}")

    def update(self, place: int) -> Statement:
        """Write what the row has: whatever its checks and keys are, it stays valid."""
        columns = self.updated
        where, parameters = self._where(place, len(columns))
        changes = ", ".join(
            f"{quoted(column.name)} = {_parameter(column, number)}"
            for number, column in enumerate(columns, 1)
        )
        values = tuple(self.rows[place % len(self.rows)][column.name] for column in columns)
        return Statement(
            f"UPDATE {self.table.sql} SET {changes} WHERE {where}",  # noqa: S608
            (*values, *parameters),
        )

    def insert(self, values: tuple[str | None, ...]) -> Statement:
        names = ", ".join(quoted(column.name) for column in self.inserted)
        parameters = ", ".join(_parameter(c, number) for number, c in enumerate(self.inserted, 1))
        filled = [column for column in self.columns if column not in self.inserted] or self.key
        returned = ", ".join(quoted(column.name) for column in filled)
        what = f"({names}) VALUES ({parameters})" if names else "DEFAULT VALUES"
        returning = f" RETURNING {returned}" if returned else ""
        return Statement(f"INSERT INTO {self.table.sql} {what}{returning}", values)

    @property
    def updated(self) -> tuple[Column, ...]:
        return tuple(
            column
            for column in self.columns
            if column not in self.key and not column.generated and column.identity != "ALWAYS"
        )

    @property
    def _select(self) -> str:
        names = ", ".join(quoted(column.name) for column in self.columns)
        return f"SELECT {names} FROM {self.table.sql}"  # noqa: S608

    def _where(self, place: int, before: int) -> tuple[str, tuple[str | None, ...]]:
        row = self.rows[place % len(self.rows)]
        condition = " AND ".join(
            f"{quoted(column.name)} = {_parameter(column, number)}"
            for number, column in enumerate(self.key, before + 1)
        )
        return condition, tuple(row[column.name] for column in self.key)


def _parameter(column: Column, number: int) -> str:
    """Of the column's type, as SQLAlchemy has it, and sent as text, so that any type can be."""
    return f"CAST(CAST(${number} AS text) AS {column.type.sql})"


async def _script(connection: AsyncConnection, load: Load, table: Table) -> Script | None:
    """What can be sent to a table of which these columns may be touched; None for nothing."""
    names: Iterable[str] = table.by_name
    if load.columns is not None:
        names = load.columns.get(table.schema, {}).get(table.name, ())
    columns = tuple(column for column in table.columns if column.name in set(names))
    if not columns:
        return None
    key = table.primary_key if set(table.primary_key) <= set(names) else ()
    texts = ", ".join(f"{quoted(column.name)}::text" for column in columns)
    rows = await connection.exec_driver_sql(
        f"SELECT {texts} FROM {table.own} LIMIT {ROWS}"  # noqa: S608
    )
    return Script(
        table=table,
        columns=columns,
        key=tuple(table.by_name[name] for name in key),
        rows=[dict(zip((c.name for c in columns), row, strict=True)) for row in rows],
    )


# ---- New rows


@dataclass
class Supply:
    """New rows for a table, made by the server on a connection that is no part of the traffic.

    One that is `complete` has no more than it has: keys allow only so many.
    """

    plan: Plan
    columns: tuple[Column, ...]
    next: int
    complete: bool = False
    waiting: list[tuple[str | None, ...]] = field(default_factory=list)

    async def fetch(self, connection: AsyncConnection, size: int) -> None:
        names = [column.name for column in self.columns]
        query = self.plan.select(names, self.next, self.next + size - 1, text=True)
        rows = (await connection.exec_driver_sql(query)).all() if names else [()] * size
        self.waiting = [tuple(row) for row in reversed(rows)] + self.waiting
        self.next += size


async def _supply(connection: AsyncConnection, script: Script, plan: Plan) -> Supply | str:
    """Rows that the table takes, found by trying; or why there are none.

    As the ORM does, columns that the server fills are left to it, unless rows are valid only with
    them.
    """
    left_out = [column for column in script.table.columns if column not in script.columns]
    if needed := [c.name for c in left_out if not c.nullable and not c.is_filled_by_server]:
        return f"it needs {', '.join(needed)}"
    if not plan.sources:
        return plan.problem
    usable = [column for column in script.columns if column.name in plan.columns]
    problems = []
    for columns, first, size in product(
        (
            tuple(column for column in usable if not column.is_filled_by_server),
            tuple(column for column in usable if column.identity != "ALWAYS"),
        ),
        (plan.rows + 1, *BEGINNINGS),
        (SUPPLY, SUPPLY // 10, SUPPLY // 100),
    ):
        supply = Supply(plan, columns, first, complete=size < SUPPLY)
        try:
            async with connection.begin_nested() as attempt:
                await supply.fetch(connection, size)
                await connection.exec_driver_sql(
                    plan.insert([column.name for column in columns], first, first + size - 1)
                )
                await attempt.rollback()
        except DBAPIError as error:
            problems.append(reason(error))
        else:
            return supply
    return problems[0]


# ---- The process


@dataclass
class Job:
    """Requests to one table in turn; `kinds` that it cannot send now are passed over."""

    script: Script
    kinds: tuple[str, ...]
    supply: Supply | None
    sent: int = 0

    @property
    def title(self) -> str:
        return self.script.table.title

    def next(self, *, last: bool) -> tuple[str, Statement] | None:
        """What comes next; one new row is kept for the `last` requests."""
        if not self.kinds:
            return None
        kind = self.kinds[self.sent % len(self.kinds)]
        place = self.sent // len(self.kinds)
        self.sent += 1
        match kind:
            case "read":
                return kind, self.script.read(place)
            case "update":
                return kind, self.script.update(place)
            case "insert" if self.supply and len(self.supply.waiting) > (0 if last else 1):
                row = self.supply.waiting.pop()
                return kind, replace(self.script, inserted=self.supply.columns).insert(row)
            case "page":
                return kind, self.script.page()
        return None


class Control:
    title = ""
    kinds = (CONTROL,)

    def next(self, *, last: bool) -> tuple[str, Statement]:
        return CONTROL, Statement("SELECT 1")


class Recorder:
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
        """The error of each table and kind of request of which none came through."""
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
        later = await tables_of(make_url(load.later)) if load.later else ()
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
    recorder = Recorder()
    refill = asyncio.create_task(_refill(supplier, jobs))
    at_work = list(zip(engines, workers, strict=True))
    await asyncio.gather(*(_warm_up(engine, jobs, recorder) for engine, jobs in at_work))
    for (title, kind), why in recorder.refused().items():
        silent.setdefault(title, f"{kind} fails already, {why}")
        for job in jobs:
            if job.title == title:
                job.kinds = tuple(other for other in job.kinds if other != kind)
    recorder.clear()
    stop = asyncio.Event()
    pause = max(1, load.workers) / load.rate
    tasks = [
        asyncio.create_task(_work(engine, jobs, pause / len(jobs), recorder, stop))
        for engine, jobs in at_work
    ]
    print(json.dumps({"silent": silent}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    stop.set()
    await asyncio.gather(*tasks)
    refill.cancel()
    await asyncio.gather(refill, return_exceptions=True)
    sent = [(table, kind, number) for (table, kind), number in recorder.sent.items()]
    print(json.dumps({"requests": recorder.requests, "sent": sent}), flush=True)
    for engine in (*engines, supplier):
        await engine.dispose()


async def _jobs(
    connection: AsyncConnection, load: Load, later: Sequence[Table]
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
        script = await _script(connection, load, table)
        if script is None:
            silent[table.title] = "nothing of it is touched"
            continue
        found = await _supply(connection, script, await planner.plan_more(table))
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


async def _warm_up(engine: AsyncEngine, jobs: Sequence[Job | Control], recorder: Recorder) -> None:
    """Send everything a few times, so that all statements are prepared."""
    for job in islice(cycle(jobs), WARM * _everything(jobs)):
        await _send(engine, job, recorder)


def _everything(jobs: Sequence[Job | Control]) -> int:
    return len(jobs) * max(len(job.kinds) for job in jobs)


async def _work(
    engine: AsyncEngine,
    jobs: Sequence[Job | Control],
    pause: float,
    recorder: Recorder,
    stop: asyncio.Event,
) -> None:
    """Send one request at a time, each so long after the one before, whatever happens to it.

    Everything is sent once more after the end, so that nothing that a change broke goes unnoticed,
    however soon it was done.
    """
    turns = cycle(jobs)
    due = time.monotonic()
    while not stop.is_set():
        await _send(engine, next(turns), recorder, due=due)
        due = max(due + pause, time.monotonic())
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), due - time.monotonic())
    for job in islice(turns, _everything(jobs)):
        await _send(engine, job, recorder, last=True)


async def _send(
    engine: AsyncEngine,
    job: Job | Control,
    recorder: Recorder,
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
    recorder.add(job.title, kind, started, time.monotonic() - started, error)


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
