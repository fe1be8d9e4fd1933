"""One runner at a time: an advisory lock on the connection that does the work."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from slipway.backoff import sleep
from slipway.errors import MigrationError
from slipway.runner.connection import LOST, scalar

log = logging.getLogger(f"alembic.{__name__}")

# Any number that no other advisory lock of the application has; the same in all of its releases.
LOCK_KEY = 0x736C697077617900
REMIND_EVERY = 10  # seconds


@contextmanager
def hold_lock(connection: Connection, key: int, work: str, timeout: float) -> Iterator[None]:
    """Hold an advisory lock on the connection that does the work, so that it ends when that does.

    It is polled, each poll a transaction of its own: a runner that queued for it in an open
    transaction would be waited for by the other's concurrent index build, a deadlock.

    Args:
        work: what the lock is for, in messages to people who wait.
        timeout: how long to wait for it, in seconds.

    Raises:
        MigrationError: another session holds it, or the connection loses it.
    """
    deadline = monotonic() + timeout
    logged = 0.0
    while not scalar(connection, "SELECT pg_try_advisory_lock(:key)", key=key):
        holder = scalar(connection, HOLDER, key=key)
        if monotonic() - logged > REMIND_EVERY:
            log.info("Waiting for another %s: %s", work, holder)
            logged = monotonic()
        if monotonic() > deadline:
            raise MigrationError(f"Another {work} still runs after {timeout:g} s: {holder}")
        sleep(connection, random.uniform(0.2, 0.5))  # noqa: S311
    try:
        if not scalar(connection, HOLDS, key=key):
            raise MigrationError(LOST)
        yield
    finally:
        # Where the connection is lost, so is the lock.
        if not connection.invalidated:
            with suppress(DBAPIError):
                connection.rollback()
                scalar(connection, "SELECT pg_advisory_unlock(:key)", key=key)


HOLDS = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = :key
)
"""
HOLDER = """
SELECT format('%s, pid %s, since %s', coalesce(nullif(application_name, ''), usename), pid,
              to_char(backend_start, 'HH24:MI:SS TZ'))
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (classid::bigint << 32 | objid::bigint) = :key
"""
