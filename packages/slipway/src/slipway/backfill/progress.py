"""Reports the progress of a backfill: a bar on a terminal, else a log line every few seconds."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from slipway.backfill.walk import BackfillProgress

log = logging.getLogger(f"alembic.{__name__}")

LOG_EVERY = 10  # seconds


@dataclass(frozen=True)
class Pace:
    """Rows scanned per second, and the seconds that are left at that rate."""

    rate: float
    left: float | None


class Clock:
    """Measures the pace of a pass along the key in this process."""

    def __init__(self) -> None:
        self._since: tuple[float, int, bool] | None = None

    def pace(self, now: BackfillProgress) -> Pace:
        if self._since is None or self._since[2] != now.again:
            # Rows that an earlier process scanned do not count for the pace of this one.
            self._since = monotonic(), now.seen, now.again
        began, before, _ = self._since
        rate = (now.seen - before) / max(monotonic() - began, 1e-3)
        if not rate or now.total is None:
            return Pace(rate, None)
        return Pace(rate, max(now.total - now.seen, 0) / rate)


@contextmanager
def reported(name: str) -> Iterator[Callable[[BackfillProgress], None]]:
    """Yield a function that reports the progress of a run."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(name, console) as report:
            yield report
    else:
        yield _log_lines(name)


@contextmanager
def _bar(name: str, console: Console) -> Iterator[Callable[[BackfillProgress], None]]:
    clock = Clock()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, TextColumn("{task.fields[pace]}"), console=console) as bar:
        task = bar.add_task(name, total=None, pace="")

        def report(now: BackfillProgress) -> None:
            total = None if now.total is None else max(now.total, now.seen)
            pace = _format(now, clock.pace(now))
            bar.update(
                task, description=_title(name, now), completed=now.seen, total=total, pace=pace
            )

        yield report


def _log_lines(name: str) -> Callable[[BackfillProgress], None]:
    clock, logged_at = Clock(), monotonic()

    def report(now: BackfillProgress) -> None:
        nonlocal logged_at
        pace = clock.pace(now)
        if monotonic() - logged_at < LOG_EVERY:
            return
        logged_at = monotonic()
        log.info(
            "%s: %s rows scanned of about %s, %s",
            _title(name, now),
            f"{now.seen:,}",
            "?" if now.total is None else f"{now.total:,}",
            _format(now, pace),
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


def _title(name: str, now: BackfillProgress) -> str:
    return f"{name}, second pass" if now.again else name


def _format(now: BackfillProgress, pace: Pace) -> str:
    left = "" if pace.left is None else f", {timedelta(seconds=round(pace.left))} left"
    return f"{now.changed:,} changed, {pace.rate:,.0f} rows/s{left}"
