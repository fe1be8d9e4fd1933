"""A rehearsal on a terminal: a progress bar meanwhile, tables at the end.

Where there is no terminal, or a narrow one, the same comes as lines.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from slipway.output import relative
from slipway.rehearse.model import Rehearsal
from slipway.rehearse.report import describe, stats
from slipway.rehearse.report.stats import (
    Latency,
    StatementStats,
    noise,
    statement_stats,
    table_stats,
)

WIDE = 100  # columns that a table needs to be readable
COLOURS = {"everybody": "red", "writers": "yellow", "nobody": "green"}
WHO_WAITS = {
    "everybody": "reads and writes wait",
    "writers": "writes wait",
    "nobody": "nothing waits",
}


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """Show how far a rehearsal of so many stages is; what is yielded names the one that begins.

    On anything but a terminal, nothing is shown.
    """
    columns = (
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    began = 0
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task("", total=total)

        def begin(stage: str) -> None:
            nonlocal began
            bars.update(task, description=_line(stage).plain, completed=began)
            began += 1

        yield begin
        bars.update(task, completed=total)


def show(rehearsal: Rehearsal, console: Console) -> None:
    """Print what each statement did, and what the requests of each table took."""
    touching = [step for step in statement_stats(rehearsal) if not describe.is_setting(step)]
    wide = console.is_terminal and console.width >= WIDE
    (_show_tables if wide else _show_lines)(touching, table_stats(rehearsal), console)
    quiet = noise(rehearsal.requests)
    if quiet.requests:
        _print(
            console,
            f"Requests that touch no table took up to {describe.duration(quiet.longest)}: "
            "differences below that are noise.",
            "dim",
        )


def _print(console: Console, line: str, style: str = "") -> None:
    console.print(Text(describe.shown(line), style=style), soft_wrap=True)


def _line(text: object, style: str = "") -> Text:
    return Text(" ".join(describe.shown(text).split()), style=style)


def _place(step: StatementStats) -> str:
    return f"{relative(Path(step.statement.file))}:{step.statement.line}"


def _locks(step: StatementStats) -> str:
    found = describe.locks(step)
    return "; ".join(f"{table}: {WHO_WAITS[mode.waiting]}" for table, mode, _ in found)


def _scanned(step: StatementStats) -> str:
    scanned = step.scanned_while_blocking.items()
    return ", ".join(f"{rows:,} of {table}" for table, rows in scanned)


def _outcome(step: StatementStats) -> str:
    if not step.runs:
        return "not reached"
    attempts = f", {len(step.failed)} failed before" if step.failed else ""
    if len(step.failed) == len(step.runs):
        return f"failed {len(step.runs)}x"
    return describe.duration(step.seconds) + attempts


# ---- Tables


def _show_tables(
    ran: Sequence[StatementStats], used: Sequence[stats.TableStats], console: Console
) -> None:
    console.print(_statements(ran))
    console.print(_requests(used))


def _statements(ran: Sequence[StatementStats]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("where", overflow="fold", ratio=2)
    table.add_column("statement", overflow="fold", ratio=4)
    table.add_column("locks", overflow="fold", ratio=3)
    table.add_column("rewritten", overflow="fold")
    table.add_column("rows read while others wait", justify="right", max_width=14, overflow="fold")
    table.add_column("took", justify="right", overflow="fold")
    for step in ran:
        table.add_row(
            _line(_place(step)),
            _line(describe.short(step.statement.sql)),
            _line(_locks(step), COLOURS[describe.waiting(step)]),
            _line(", ".join(step.statement.rewritten), "red"),
            _line(_scanned(step), "red"),
            _line(_outcome(step)),
        )
    return table


def _requests(used: Sequence[stats.TableStats]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("table", overflow="fold")
    for kind in ("reads", "writes"):
        for heading in (kind, "failed", "p99", "longest"):
            table.add_column(heading, justify="right")
    for found in used:
        table.add_row(_line(found.name), *_numbers(found.reads), *_numbers(found.writes))
    return table


def _numbers(latency: Latency) -> Iterator[Text]:
    yield Text(f"{latency.requests:,}")
    yield Text(f"{latency.failures:,}", style="red" if latency.failures else "")
    for seconds in (latency.p99, latency.longest):
        yield Text(describe.duration(seconds) if latency.requests else "-")


# ---- Lines


def _show_lines(
    ran: Sequence[StatementStats], used: Sequence[stats.TableStats], console: Console
) -> None:
    for step in ran:
        _print(console, f"{_place(step)}: {describe.short(step.statement.sql)}", "bold")
        facts = {
            "locks": _locks(step),
            "rewritten": ", ".join(step.statement.rewritten),
            "rows read while others wait": _scanned(step),
            "took": _outcome(step),
        }
        for name, fact in facts.items():
            if fact:
                _print(console, f"  {name}: {fact}")
    for found in used:
        for kind, latency in (("reads", found.reads), ("writes", found.writes)):
            sent, failed, p99, longest = (text.plain for text in _numbers(latency))
            _print(
                console,
                f"{found.name}: {sent} {kind}, {failed} failed, p99 {p99}, longest {longest}",
            )
