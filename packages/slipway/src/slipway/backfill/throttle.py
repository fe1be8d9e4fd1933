"""Limits the load of a backfill: small batches, pauses, and waits for standbys."""

import logging
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Row, text

from slipway.backoff import sleep

log = logging.getLogger(f"alembic.{__name__}")

# Few enough rows that a writer of one of them waits for milliseconds.
BATCH_SIZE = 1000
LOG_EVERY = 10  # seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much load a backfill may put on the server; durations in seconds, None for no limit.

    Attributes:
        batch_size: largest number of rows that a transaction scans.
        batch_time: how long a batch should take at most: under load, batches become smaller.
        pause: rest after each batch that changed something.
        max_rows_per_second: rows that are changed.
        max_lag: how far behind a standby may be.
    """

    batch_size: int = BATCH_SIZE
    batch_time: float | None = None
    pause: float = 0
    max_rows_per_second: float | None = None
    max_lag: float | None = None


class Throttle:
    """Decides how large the next batch is, and when it may begin."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        # The limit holds for each second, not only on average.
        self._largest = max(1, int(min(limits.batch_size, limits.max_rows_per_second or 1e9)))
        self.size = self._largest
        # Moments, and how much the server had written by then.
        self._written: deque[tuple[float, int]] = deque()
        self._warned = False

    def rest(self, changed: int, seconds: float) -> None:
        """Rest after a batch, outside any transaction.

        Args:
            changed: rows that it changed.
            seconds: how long it took.
        """
        limits = self._limits
        if limits.batch_time:
            fitting = int(self.size * limits.batch_time / seconds)
            # Half or twice at a time: a single batch may have been unlucky.
            self.size = min(max(fitting, self.size // 2, 1), self.size * 2, self._largest)
        if not changed:
            return
        rate = limits.max_rows_per_second
        sleep(self._connection, max(limits.pause, changed / rate if rate else 0))
        if limits.max_lag is not None:
            self._wait_for_standbys(limits.max_lag)

    def _wait_for_standbys(self, max_lag: float) -> None:
        standbys = self._standbys()
        if standbys.hidden and not self._warned:
            log.warning("The lag of standbys is hidden from this user: GRANT pg_monitor to it")
            self._warned = True
        self._written.append((monotonic(), standbys.written))
        logged_at = 0.0
        while (lag := self._lag(standbys.replayed)) > max_lag:
            if monotonic() - logged_at > LOG_EVERY:
                log.info("Waiting for standby %s, %.0f s behind", standbys.slowest, lag)
                logged_at = monotonic()
            sleep(self._connection, min(max_lag, 0.5))
            standbys = self._standbys()

    def _lag(self, replayed: int | None) -> float:
        """How long ago the server wrote what the slowest standby has yet to replay, in seconds."""
        while self._written and (replayed is None or self._written[0][1] <= replayed):
            self._written.popleft()
        return monotonic() - self._written[0][0] if self._written else 0

    def _standbys(self) -> Row[Any]:
        with self._connection.begin():
            return self._connection.execute(STANDBYS).one()


# `replay_lag` stands still when replay does, so time is taken from what was written when.
STANDBYS = text("""
SELECT (pg_current_wal_lsn() - '0/0')::bigint AS written,
       min(replay_lsn - '0/0')::bigint AS replayed,
       (array_agg(application_name ORDER BY replay_lsn))[1] AS slowest,
       coalesce(bool_or(state IS NULL), false) AS hidden
FROM pg_stat_replication
""")
