"""How long requests wait while a large table changes, by stock Alembic's form and by ours."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from benchmarks.harness import here, new_database, ratio, rounds, table
from packages.slipway.tests.changes import CHANGES, Change
from packages.slipway.tests.modelled import ModelledHistory
from packages.slipway.tests.rehearsal import Outcome
from packages.slipway.tests.rows import seed
from packages.slipway.tests.traffic import Service, traffic
from slipway import devdb

ROWS, FEW_ROWS = 1_000_000, 3_000
NAMES = [
    "add an index",
    "drop an index",
    "add a unique constraint",
    "add a foreign key",
    "add a check",
    "a column becomes not null",
    "add a column with a constant default",
    "add a not null column with a volatile default",
    "widen a varchar",
    "an int becomes a bigint",
]
# What stock Alembic does not see, and its users write instead.
BY_HAND = {"add a check": 'op.create_check_constraint("positive", "items", "amount > 0")'}
STOCK, OURS = "stock", "**ours**"

INTRODUCTION = """\
## Stalls

Each table has {rows:,} rows, and readers and writers work on it as in \
[docs/changes.md](../docs/changes.md), while `alembic upgrade head` applies what autogenerate \
wrote, stock Alembic's or ours. There is no slow client here: what is waited for is the work of \
the statements. Stock Alembic does not see a check, so that one is written by hand. *Longest wait* \
is that of one request; one that touches no table took at most {noise:.0f} ms, so less than that \
says nothing. *Failed* and *stale plans* count all rounds; of the latter, each process has one \
when the type of a column changes. *TODO*: ours asks the author to write something better, and was \
applied as it is. Medians of {rounds} interleaved rounds."""


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    seconds: float
    todo: bool

    @property
    def wait(self) -> float:
        """The longest of all requests, in seconds."""
        return max(request.seconds for request in self.outcome.service)


def measure(quick: bool) -> str:
    count, rows, names = (
        (1, FEW_ROWS, ["add an index", "add a check"]) if quick else (3, ROWS, NAMES)
    )
    changes = [change for name in names for change in CHANGES if change.name == name]
    with devdb.temporary_server() as server:
        full: dict[str, str] = {}
        for change in changes:
            if change.before not in full:
                full[change.before] = _fill(server, f"full_{len(full)}", change, rows)
        found = rounds(
            {
                (change.name, form): partial(
                    _run, server, full[change.before], change, rows, stock=form == STOCK
                )
                for change in changes
                for form in (STOCK, OURS)
            },
            count,
        )
    noise = max(result.outcome.noise for results in found.values() for result in results)
    lines = [
        [
            f"{name}: {form}",
            f"{1000 * median(_waits(results)):.0f}",
            f"{ratio(_waits(results), _waits(found[name, STOCK])):.2f}",
            str(sum(len(result.outcome.failed) for result in results)),
            str(sum(len(result.outcome.stale_plans) for result in results)),
            f"{median(result.seconds for result in results):.1f}",
            _ended(results[-1]),
        ]
        for (name, form), results in found.items()
    ]
    introduction = INTRODUCTION.format(rows=rows, noise=1000 * noise, rounds=count)
    header = ["", "longest wait, ms", "times stock", "failed", "stale plans", "upgrade, s", ""]
    return "\n\n".join([introduction, here(), table(header, lines)])


def _waits(results: Sequence[Result]) -> list[float]:
    return [result.wait for result in results]


def _ended(result: Result) -> str:
    words = ["failed"] if result.outcome.code else []
    return ", ".join([*words, "TODO"] if result.todo else words)


def _service(url: str, change: Change, rows: int) -> Service:
    both = change.kind == "contract"
    return Service(url, change.before, change.after, change.values, rows, both)


def _fill(server: str, name: str, change: Change, rows: int) -> str:
    """A database with the tables as they are before the change, and rows in them."""
    url = new_database(server, name)
    filled = _service(url, change, rows).rows()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    filled.before.create_all(engine)
    engine.dispose()
    seed(url, filled)
    return name


def _run(server: str, full: str, change: Change, rows: int, *, stock: bool) -> Result:
    url = new_database(server, "stalls", template=full)
    with TemporaryDirectory() as folder:
        history = ModelledHistory(Path(folder), url, stock=stock)
        history.models(change.before)
        # The tables are there; this is the revision that they are at.
        code, printed = history.run(["revision", "-m", "before"], ["stamp", "head"])
        if code:
            raise SystemExit(printed)
        history.models(change.after)
        files = history.generate(change.name)
        if stock and change.name in BY_HAND:
            [file] = files
            file.write_text(file.read_text().replace("pass", BY_HAND[change.name], 1))
        with traffic(_service(url, change, rows)) as requests:
            began = time.perf_counter()
            code, printed = history.alembic()
            taken = time.perf_counter() - began
        todo = any("TODO" in path.read_text() for path in files)
    return Result(Outcome(code, printed, requests), taken, todo)
