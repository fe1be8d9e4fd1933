"""Tells how a backfill goes on: a bar on a terminal, elsewhere a line in the log now and then."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from slipway.backfill.walk import Report

log = logging.getLogger(f"alembic.{__name__}")

EVERY = 10  # seconds


@dataclass(frozen=True)
class Pace:
    """Rows per second that were looked at, and the seconds that are left at that rate."""

    rate: float
    left: float | None


class Clock:
    """Measures the pace since this process began to go along the key."""

    def __init__(self) -> None:
        self._since: tuple[float, int, bool] | None = None

    def pace(self, now: Report) -> Pace:
        if self._since is None or self._since[2] != now.again:
            # Rows that an earlier process has seen say nothing about this one.
            self._since = monotonic(), now.seen, now.again
        began, before, _ = self._since
        rate = (now.seen - before) / max(monotonic() - began, 1e-3)
        if not rate or now.total is None:
            return Pace(rate, None)
        return Pace(rate, max(now.total - now.seen, 0) / rate)


@contextmanager
def reported(name: str) -> Iterator[Callable[[Report], None]]:
    """Yield a function for the reports of a run."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(name, console) as report:
            yield report
    else:
        yield _lines(name)


@contextmanager
def _bar(name: str, console: Console) -> Iterator[Callable[[Report], None]]:
    clock = Clock()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, TextColumn("{task.fields[pace]}"), console=console) as bar:
        task = bar.add_task(name, total=None, pace="")

        def report(now: Report) -> None:
            total = None if now.total is None else max(now.total, now.seen)
            description = f"{name}, once more" if now.again else name
            pace = _told(now, clock.pace(now))
            bar.update(task, description=description, completed=now.seen, total=total, pace=pace)

        yield report


def _lines(name: str) -> Callable[[Report], None]:
    clock, told = Clock(), monotonic()

    def report(now: Report) -> None:
        nonlocal told
        pace = clock.pace(now)
        if monotonic() - told < EVERY:
            return
        told = monotonic()
        log.info(
            *("%s%s: %s rows seen of about %s, %s", name, ", once more" if now.again else ""),
            *(f"{now.seen:,}", "?" if now.total is None else f"{now.total:,}", _told(now, pace)),
            extra={
                "backfill": name,
                "seen": now.seen,
                "total": now.total,
                "changed": now.changed,
                "rows_per_second": round(pace.rate),
                "seconds_left": None if pace.left is None else round(pace.left),
            },
        )

    return report


def _told(now: Report, pace: Pace) -> str:
    left = "" if pace.left is None else f", {timedelta(seconds=round(pace.left))} left"
    return f"{now.changed:,} changed, {pace.rate:,.0f} rows/s{left}"
