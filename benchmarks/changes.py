"""Every model change under traffic, with what stock Alembic writes and with what we write."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import here, rounds, table
from packages.slipway.tests.changes import CHANGES, Change
from packages.slipway.tests.rehearsal import (
    LOCK_TIMEOUT,
    SLOW,
    Outcome,
    database,
    prepare,
    upgrade_under_load,
)
from slipway import devdb

ROWS = 3000
STOCK, OURS = "stock", "ours"

INTRODUCTION = """\
# Model changes under traffic

{count} model changes, each made twice, with what stock Alembic's autogenerate writes (its own \
async template, no timeouts) and with what ours writes (lock timeout {lock_timeout:g} s).

In each run, every table that exists before has {rows:,} rows, and readers and writers work on it: \
SQLAlchemy and asyncpg as in a service, each request a transaction of its own. In an *expand* \
change they are the old version and send every column that its models have; in a *contract* change \
they touch what both versions have. When the upgrade begins, one slow client has read and changed \
a row of each table; it commits {slow:g} s after somebody first waits for it. Whoever needs a \
strong lock queues behind it, and everybody else behind that one: this is how a statement of a \
millisecond stops a service.

- *longest wait*: of one request of the service, from its begin to its commit. A request of the \
same processes that touches no table took at most {noise:.0f} ms in these runs: less than that \
says nothing.
- *failed*: requests that ended with an error.
- *stale plans*: requests that failed because the type of a column changed, with asyncpg's \
`InvalidCachedStatementError`. Each process gets one, also by a change that is free: no form of \
the change avoids it.
- An upgrade that did not succeed says why below the table."""
HEADER = [
    *("change", "kind"),
    *("stock: longest wait, ms", "failed", "stale plans", "upgrade"),
    *("ours: revisions", "longest wait, ms", "failed", "stale plans", "upgrade"),
]


@dataclass(frozen=True)
class Result:
    revisions: int
    todo: bool
    outcome: Outcome


def measure(quick: bool) -> str:
    changes = CHANGES[:2] if quick else CHANGES
    with devdb.temporary_server() as server:
        found = rounds(
            {
                (change.name, form): partial(_run, server, change, stock=form == STOCK)
                for change in changes
                for form in (STOCK, OURS)
            },
            count=1,
        )
    reasons: list[str] = []
    rows = []
    for change in changes:
        [stock], [ours] = found[change.name, STOCK], found[change.name, OURS]
        cells = [change.name, change.kind, *_measured(stock, reasons)]
        rows.append([*cells, str(ours.revisions), *_measured(ours, reasons)])
    noise = max(result.outcome.noise for [result] in found.values())
    introduction = INTRODUCTION.format(
        count=len(changes), lock_timeout=LOCK_TIMEOUT, rows=ROWS, slow=SLOW, noise=1000 * noise
    )
    notes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))
    return "\n\n".join([introduction, here(), table(HEADER, rows), notes])


def _run(server: str, change: Change, *, stock: bool) -> Result:
    with (
        TemporaryDirectory() as folder,
        database(server, Path(folder), stock=stock) as history,
    ):
        service = prepare(history, change, ROWS)
        history.models(change.after)
        files = [path for path in history.generate(change.name) if not _is_empty(path)]
        outcome = upgrade_under_load(history, service)
        todo = any("TODO" in path.read_text() for path in files)
    return Result(len(files), todo, outcome)


def _is_empty(revision: Path) -> bool:
    """Stock Alembic also writes a revision where it sees no change."""
    body = revision.read_text().partition("def upgrade")[2].partition("def downgrade")[0]
    return "\n    pass\n" in body


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
        words = failed(result.outcome.printed, reasons)
    return f"{words}, TODO" if result.todo else words


def failed(printed: str, reasons: list[str]) -> str:
    """Words with the number of the reason, the last error that was printed."""
    lines = [line for line in printed.strip().splitlines() if "sqlalche.me" not in line]
    errors = [line for line in lines if re.match(r"sqlalchemy\.exc\.|\S+Error:", line)]
    reason = re.sub(r"^.*<class '[^']+'>: ", "", (errors or lines)[-1])
    if reason not in reasons:
        reasons.append(reason)
    return f"failed ({reasons.index(reason) + 1})"
