"""Names the sessions that block the connection that migrates, from a second connection."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Event, Thread
from typing import Any

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from slipway.runner.connection import scalar

EVERY = 0.2  # seconds
BLOCKERS = text("""
SELECT pid, extract(epoch FROM now() - xact_start)::int AS seconds, state,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 200) AS query
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(:pid)) ORDER BY xact_start
""")
Blockers = list[Row[Any]]


def watched(connection: Connection) -> AbstractContextManager[Blockers]:
    """Watch who blocks this connection during the block; yield the sessions that did so last.

    To name them is a help, not a condition: where a second connection fails, none is named.
    """
    pid = scalar(connection, "SELECT pg_backend_pid()")
    # A pool of its own: that of the project's engine may have a single connection.
    pool = connection.engine.pool.recreate()
    engine = Engine(pool, connection.dialect, connection.engine.url)
    watch = _watched_by_task if connection.dialect.is_async else _watched_by_thread
    return watch(engine, pid)


@contextmanager
def _watched_by_thread(engine: Engine, pid: int) -> Iterator[Blockers]:
    blockers: Blockers = []
    ended = Event()

    def watch() -> None:
        with suppress(DBAPIError, OSError), engine.connect() as second:
            while not ended.wait(EVERY):
                if found := second.execute(BLOCKERS, {"pid": pid}).all():
                    blockers[:] = found
                second.rollback()
        engine.dispose()

    # A daemon: a server that does not answer must not keep the process.
    watcher = Thread(target=watch, name="blockers", daemon=True)
    watcher.start()
    try:
        yield blockers
    finally:
        ended.set()
        watcher.join(timeout=5)


@contextmanager
def _watched_by_task(engine: Engine, pid: int) -> Iterator[Blockers]:
    from sqlalchemy.ext.asyncio import AsyncEngine  # only here: it needs greenlet

    blockers: Blockers = []

    async def watch() -> None:
        with suppress(DBAPIError, OSError):
            async with AsyncEngine(engine).connect() as second:
                try:
                    while True:
                        if found := (await second.execute(BLOCKERS, {"pid": pid})).all():
                            blockers[:] = found
                        await second.rollback()
                        await asyncio.sleep(EVERY)
                finally:
                    # To close it would be logged as an error where the server has just gone.
                    await second.invalidate()

    watcher = asyncio.get_running_loop().create_task(watch())
    try:
        yield blockers
    finally:
        watcher.cancel()
        await_only(asyncio.wait([watcher]))
