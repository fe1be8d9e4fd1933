"""Requests per second and latency of the generated service, beside applications written by hand."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from uuid import uuid4

import psycopg

from benchmarks.harness import ROOT, machine, ratio, rendered, rounds, table
from packages.slipway.tests.processes import run
from slipway import devdb

SERVER_CORE, OTHER_CORE = 0, 1
WITH = ("--with=sqlmodel", "--with=psycopg[binary]")
OURS, QUIET, HAND, READER, LIMIT, DEFAULT, SYNC = (
    "**the generated service**",
    "the generated service, without a line of log for each request",
    "FastAPI + SQLAlchemy async, by hand, tuned",
    "the same without transactions",
    "FastAPI + asyncpg",
    "FastAPI + SQLAlchemy async, default pool",
    "FastAPI + SQLModel + psycopg, in threads",
)
PEERS = {
    "bare ASGI, no database": "bare",
    "FastAPI, no database": "fastapi_alone",
    LIMIT: "raw_asyncpg",
    HAND: "tuned",
    READER: "autocommit",
    DEFAULT: "default_pool",
    SYNC: "sync_sqlmodel",
}
READ, LIST, INSERT = "read one", "list twenty", "insert one"
CONNECTIONS = (16, 64)
USERS = 10_000

# Why a target is missed, by its name; said only where it is.
REASONS = {
    **{
        f"{what}, times tuned by hand, 16 connections": (
            f"The other application logs nothing; *{QUIET}* is in the tables too. "
            "The rest is what stands around a route: errors, ids, bounds, headers."
        )
        for what in (READ, LIST, INSERT)
    },
    **{
        f"{what}, times SQLModel in threads, 16": (
            "The application tuned by hand, with nothing around it, is not so much faster either."
        )
        for what in (READ, LIST)
    },
    **{
        f"{what}, times asyncpg, 16": (
            f"It is SQLAlchemy's ORM: *{READER}* reads as the service does, has nothing of ours "
            "around it, and is as fast as a session of SQLAlchemy can be."
        )
        for what in (READ, LIST)
    },
    "p99 of the default pool, times ours, read one, 64": (
        "It cannot be met: of 64 connections that share one core, each waits for 64 requests, and "
        "that alone is more than a sixth of the default pool's p99."
    ),
}
UNKNOWN = "The reason has not been found."

INTRODUCTION = """\
## Throughput and latency

Each application is one process of uvicorn on one core; PostgreSQL and the load generator (wrk, \
{connections} connections) share the other. All use the same database with {users:,} users, with \
durability off, as tests have it. The generated service runs as in production: all of its \
middleware, and a line of JSON per request into a file. Rounds are interleaved ({rounds} rounds, \
{seconds} s for each application in each); requests per second are medians, a ratio is the median \
of the ratios of each round. *Failed* counts all rounds, p99 is the median of the rounds."""


@dataclass(frozen=True)
class Load:
    rate: float
    p99: float
    failed: int


Measured = dict[str, list[Load]]


@dataclass(frozen=True)
class Target:
    name: str
    wanted: str
    value: float
    met: bool


def measure(quick: bool) -> str:
    count, seconds = (1, 1) if quick else (3, 2)
    with ExitStack() as stack:
        stack.enter_context(_on_core(OTHER_CORE))
        project = stack.enter_context(rendered())
        database = stack.enter_context(devdb.temporary_server())
        project.uv_run("alembic", "upgrade", "head", DATABASE_URL=database)
        user = _fill(database)
        on_core = ("taskset", "--cpu-list", str(SERVER_CORE))
        served = partial(project.served, DATABASE_URL=database)
        ours = (*on_core, "python", "-m", "app")
        urls = {
            OURS: stack.enter_context(served(*ours)),
            QUIET: stack.enter_context(served(*ours, LOG_LEVEL="WARNING")),
        }
        for name, module in PEERS.items():
            uvicorn = ("uvicorn", f"--app-dir={ROOT}", "--no-access-log")
            command = (*WITH, *on_core, *uvicorn, f"benchmarks.peers.{module}:app")
            urls[name] = stack.enter_context(served(*command, path="/openapi.json"))
        paths = {
            READ: f"/api/v1/users/{user}",
            LIST: "/api/v1/users?limit=20",
            INSERT: "/api/v1/users",
        }
        for what, path in paths.items():  # fills caches of statements and of plans
            for url in urls.values():
                _load(url + path, CONNECTIONS[0], 1, insert=what == INSERT)
        found = {
            (what, connections): rounds(
                {
                    name: partial(_load, url + path, connections, seconds, insert=what == INSERT)
                    for name, url in urls.items()
                },
                count,
            )
            for connections in CONNECTIONS
            for what, path in paths.items()
        }
        facts = machine(project, *WITH)
    introduction = INTRODUCTION.format(
        connections=" or ".join(map(str, CONNECTIONS)), users=USERS, rounds=count, seconds=seconds
    )
    tables = [
        f"### {what.capitalize()}, {connections} connections\n\n{_table(measured)}"
        for (what, connections), measured in found.items()
    ]
    return "\n\n".join([introduction, facts, "### Targets\n\n" + _targets(found), *tables])


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Keep this process on a core, with all that it starts and that is not told otherwise."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _fill(database: str) -> str:
    """Add users; return the id of one in the middle."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO users (email, full_name) "
            "SELECT 'user-' || n || '@example.com', 'User ' || n FROM generate_series(1, %s) n",
            [USERS],
        )
        connection.execute("ANALYZE users")
        row = connection.execute(
            "SELECT id FROM users ORDER BY id OFFSET %s LIMIT 1", [USERS // 2]
        ).fetchone()
    return str(row[0]) if row else ""


def _load(url: str, connections: int, seconds: int, *, insert: bool) -> Load:
    word = [uuid4().hex] if insert else []
    options = ["--threads=1", f"--connections={connections}", f"--duration={seconds}s"]
    script = f"--script={ROOT / 'benchmarks/load.lua'}"
    done = run("wrk", *options, "--timeout=30s", script, url, "--", *word, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1])
    return Load(found["requests"] / found["seconds"], found["p99"], found["failed"])


def _rates(loads: list[Load]) -> list[float]:
    return [load.rate for load in loads]


def _p99(loads: list[Load]) -> float:
    return median(load.p99 for load in loads)


def _failed(loads: list[Load]) -> int:
    return sum(load.failed for load in loads)


def _table(measured: Measured) -> str:
    header = ["", "requests/s", "the service is, times this", "p99, ms", "failed"]
    rows = [
        [
            name,
            f"{median(_rates(loads)):,.0f}",
            f"{ratio(_rates(measured[OURS]), _rates(loads)):.2f}",
            f"{_p99(loads):.0f}",
            str(_failed(loads)),
        ]
        for name, loads in measured.items()
    ]
    return table(header, rows)


def _targets(found: dict[tuple[str, int], Measured]) -> str:
    def times(what: str, connections: int, peer: str) -> float:
        measured = found[what, connections]
        return ratio(_rates(measured[OURS]), _rates(measured[peer]))

    crowded = [found[what, 64] for what in (READ, LIST, INSERT)]
    tail = ratio(
        [load.p99 for load in found[READ, 64][DEFAULT]],
        [load.p99 for load in found[READ, 64][OURS]],
    )
    failed = sum(_failed(measured[OURS]) for measured in crowded)
    targets = [
        *(
            _at_least(0.9, f"{what}, times tuned by hand, 16 connections", times(what, 16, HAND))
            for what in (READ, LIST, INSERT)
        ),
        *(
            _at_least(2.5, f"{what}, times SQLModel in threads, 16", times(what, 16, SYNC))
            for what in (READ, LIST)
        ),
        *(
            _at_least(0.45, f"{what}, times asyncpg, 16", times(what, 16, LIMIT))
            for what in (READ, LIST)
        ),
        Target("p99 of the default pool, times ours, read one, 64", "more than 6", tail, tail > 6),
        Target("failed requests, 64", "0", failed, failed == 0),
    ]
    rows = [
        [target.name, target.wanted, f"{target.value:.2f}", "met" if target.met else "**missed**"]
        for target in targets
    ]
    missed = [
        f"- {target.name}: missed. {REASONS.get(target.name, UNKNOWN)}"
        for target in targets
        if not target.met
    ]
    return "\n\n".join(
        [table(["target", "wanted", "measured", ""], rows), "\n".join(missed)]
    ).strip()


def _at_least(wanted: float, name: str, value: float) -> Target:
    return Target(name, f"at least {wanted}", value, value >= wanted)
