"""A new version takes the place of the old one, under load and beside a client that is slow."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from packages.slipway.tests.processes import until
from tests.rolling.load import load
from tests.rolling.outcome import Outcome, Steps
from tests.rolling.proxy import Proxy, proxied
from tests.rolling.replicas import Release, Replica, replicas

# How long a transaction of somebody else stays open once the migration waits for it.
SLOW = 1.5
# Requests queue behind a migration that queues for a lock: this long at most, then it tries again.
LOCK_TIMEOUT = 0.3


def roll_out(
    old: Release,
    releases: Sequence[Release],
    database: str,
    folder: Path,
    *,
    slow: float = SLOW,
) -> Outcome:
    """Serve the old version twice behind a proxy, then replace it by one release after the other:
    migrate, then restart one replica, then the next.

    Args:
        slow: how long the slow client's transaction stays open, in seconds.
    """
    steps, problem = Steps(), None
    with (
        replicas(old, database, folder) as running,
        proxied([replica.port for replica in running]) as proxy,
        load(proxy.url) as requests,
    ):
        for number, release in enumerate(releases, 1):
            steps.begin(f"migrate to {number}")
            if problem := _migrate(release, database, slow):
                break
            replace(running, release, proxy, steps)
    return Outcome(requests, steps, problem)


def _migrate(release: Release, database: str, slow: float) -> str | None:
    with slow_client(database, slow):
        done = release.run(
            *("alembic", "upgrade", "head"),
            check=False,
            DATABASE_URL=database,
            MIGRATION_LOCK_TIMEOUT=f"{LOCK_TIMEOUT}",
        )
    return done.stdout if done.returncode else None


def replace(running: Sequence[Replica], release: Release, proxy: Proxy, steps: Steps) -> None:
    """Stop each replica and start the release in its place, the next when that one serves."""
    for number, replica in enumerate(running, 1):
        steps.begin(f"stop web{number}")
        replica.stop()
        steps.begin(f"start web{number}")
        replica.start(release)
        until(lambda: len(proxy.up()) == len(running))
    steps.begin("replaced")


@contextmanager
def slow_client(url: str, slow: float) -> Iterator[None]:
    """A client that has changed a row of each table, and ends its transaction so many seconds
    after somebody first waits for it."""
    ended = threading.Event()
    with psycopg.connect(url) as connection, psycopg.connect(url, autocommit=True) as observer:
        # Nobody else changes these rows.
        connection.execute("UPDATE users SET email = email WHERE email = 'user1@example.com'")
        connection.execute("UPDATE posts SET title = title WHERE title = 'Title 1'")
        pid = connection.info.backend_pid

        def be_slow() -> None:
            while not ended.wait(0.05):
                if observer.execute(WAITING, (pid,)).fetchone() != (0,):
                    ended.wait(slow)
                    break
            connection.rollback()

        thread = threading.Thread(target=be_slow)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND %s = ANY(pg_blocking_pids(pid))
"""
