"""Runs every model change with what stock Alembic writes and with what we write: docs/changes.md.

uv run python -m benchmarks.changes [--rows 3000] [--only WORDS] [--output docs/changes.md]
"""

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "template/src"))

import psycopg  # noqa: E402

import devdb  # noqa: E402
from tests.migrator.changes import CHANGES, Change  # noqa: E402
from tests.migrator.rehearsal import (  # noqa: E402
    LOCK_TIMEOUT,
    SLOW,
    Outcome,
    database,
    prepare,
    upgrade_under_load,
)

PAGE = """\
# Model changes under traffic

Written by `uv run python -m benchmarks.changes`, never by hand: {count} model changes, each made \
twice, with what stock Alembic's autogenerate writes (its own async template, no timeouts) and \
with what ours writes (lock timeout {lock_timeout:g} s).

In each run, every table that exists before has {rows:,} rows, and readers and writers work on it: \
SQLAlchemy and asyncpg as in a service, each request a transaction of its own. In an *expand* \
change they are the old version and send every column that its models have; in a *contract* change \
they touch what both versions have. When the upgrade begins, one slow client has read and changed \
a row of each table; it commits {slow:g} s after somebody first waits for it. Whoever needs a \
strong lock queues behind it, and everybody else behind that one: this is how a statement of a \
millisecond stops a service.

- *longest wait*: of one request of the service, from its begin to its commit. A request of the \
same processes that touches no table took at most {noise} ms in these runs: less than that says \
nothing.
- *failed*: requests that ended with an error.
- *stale plans*: requests that failed because the type of a column changed, with asyncpg's \
`InvalidCachedStatementError`. Each process gets one, also by a change that is free: no form of \
the change avoids it.
- An upgrade that did not succeed says why below the table.

{date}, {python}, {packages}, PostgreSQL {postgresql}, {machine}.

| change | kind | stock: longest wait, ms | failed | stale plans | upgrade | \
ours: revisions | longest wait, ms | failed | stale plans | upgrade |
|---|---|--:|--:|--:|---|--:|--:|--:|--:|---|
{table}

{notes}
"""


@dataclass(frozen=True)
class Result:
    change: Change
    stock: bool
    revisions: int
    todo: bool
    outcome: Outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--only", default="", help="changes whose name has these words")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/changes.md")
    options = parser.parse_args()
    changes = [change for change in CHANGES if options.only in change.name]
    results = []
    with devdb.temporary_server() as server:
        for number, change in enumerate(changes, 1):
            started = time.monotonic()
            pair = [_run(server, change, options.rows, stock=stock) for stock in (True, False)]
            results.append(pair)
            seconds = time.monotonic() - started
            print(f"{number}/{len(changes)} {change.name}, {seconds:.1f} s", flush=True)
        postgresql = _postgresql(server)
    options.output.write_text(_page(results, options.rows, postgresql))


def _run(server: str, change: Change, rows: int, *, stock: bool) -> Result:
    with (
        tempfile.TemporaryDirectory() as folder,
        database(server, Path(folder), stock=stock) as history,
    ):
        service = prepare(history, change, rows)
        history.models(change.after)
        files = history.generate(change.name)
        outcome = upgrade_under_load(history, service)
        todo = any("TODO" in path.read_text() for path in files)
    return Result(change, stock, len(files), todo, outcome)


def _page(results: list[list[Result]], rows: int, postgresql: str) -> str:
    reasons: list[str] = []
    table = []
    for stock, ours in results:
        cells = [stock.change.name, stock.change.kind, *_measured(stock, reasons)]
        table.append([*cells, str(ours.revisions), *_measured(ours, reasons)])
    packages = ["alembic", "sqlalchemy", "asyncpg"]
    return PAGE.format(
        count=len(results),
        lock_timeout=LOCK_TIMEOUT,
        rows=rows,
        slow=SLOW,
        noise=round(1000 * max(r.outcome.noise for pair in results for r in pair)),
        date=datetime.now(UTC).date(),
        python=f"Python {platform.python_version()}",
        packages=", ".join(f"{name} {version(name)}" for name in packages),
        postgresql=postgresql,
        machine=f"{platform.system()} on {platform.machine()} with {os.cpu_count()} cores",
        table="\n".join(f"| {' | '.join(cells)} |" for cells in table),
        notes="\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1)),
    )


def _measured(result: Result, reasons: list[str]) -> list[str]:
    outcome = result.outcome
    slowest = f"{1000 * outcome.slowest.seconds:.0f}" if outcome.slowest else "-"
    return [
        slowest,
        str(len(outcome.failed)),
        str(len(outcome.stale_plans)),
        _upgrade(result, reasons),
    ]


def _upgrade(result: Result, reasons: list[str]) -> str:
    """`done`, or the number of the reason why not."""
    words = "done"
    if not result.revisions:
        words = "saw no change"
    elif result.outcome.code:
        reason = _reason(result.outcome.printed)
        if reason not in reasons:
            reasons.append(reason)
        words = f"failed ({reasons.index(reason) + 1})"
    return f"{words}, TODO" if result.todo else words


def _reason(printed: str) -> str:
    lines = [line for line in printed.strip().splitlines() if "sqlalche.me" not in line]
    errors = [line for line in lines if re.match(r"sqlalchemy\.exc\.|\S+Error:", line)]
    reason = (errors or lines)[-1]
    return re.sub(r"^.*<class '[^']+'>: ", "", reason)


def _postgresql(server: str) -> str:
    with psycopg.connect(server) as connection:
        [(found,)] = connection.execute("SHOW server_version").fetchall()
    return str(found)


if __name__ == "__main__":
    main()
