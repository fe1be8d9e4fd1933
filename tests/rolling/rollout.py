"""A new version takes the place of the old one, under load and beside a client that is slow."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from tests.processes import until
from tests.rolling.load import Request
from tests.rolling.proxy import Proxy
from tests.rolling.replicas import Release, Replica

# How long a transaction of somebody else stays open once the migration waits for it.
SLOW = 1.5
# Requests queue behind a migration that queues for a lock: this long at most, then it tries again.
LOCK_TIMEOUT = 0.3
# The bound of the issue, for one request.
BOUND = 1.0


@dataclass
class Steps:
    """What was done and when, so that a request can be told the step in which it was."""

    begun: list[tuple[float, str]] = field(default_factory=list)

    def begin(self, name: str) -> None:
        self.begun.append((time.monotonic(), name))

    def at(self, moment: float) -> str:
        names = [name for start, name in self.begun if start <= moment]
        return names[-1] if names else "before"

    def describe(self, requests: Sequence[Request]) -> str:
        """Failed and slowest requests, each with its moment and step."""
        slowest = sorted(requests, key=lambda request: -request.seconds)[:5]
        failed = [request for request in requests if request.failed]
        first = min((request.start for request in requests), default=0)
        lines = [f"{len(requests)} requests, {len(failed)} failed"]
        lines += [
            f"{request.start - first:7.2f} s, {request.seconds:.3f} s long, "
            f"{self.at(request.start)} → {self.at(request.start + request.seconds)}: "
            f"{request.kind}: {request.outcome}"
            for request in sorted([*failed[:20], *slowest], key=lambda request: request.start)
        ]
        return "\n".join(lines)


@contextmanager
def slow_client(url: str) -> Iterator[None]:
    """A client that has read all tables, and ends its transaction `SLOW` seconds after somebody
    first waits for it."""
    ended = threading.Event()
    with psycopg.connect(url) as connection, psycopg.connect(url, autocommit=True) as observer:
        connection.execute("SELECT FROM users LIMIT 1")
        connection.execute("SELECT FROM posts LIMIT 1")
        pid = connection.info.backend_pid

        def be_slow() -> None:
            while not ended.wait(0.05):
                if observer.execute(WAITING, (pid,)).fetchone() != (0,):
                    ended.wait(SLOW)
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


def roll_out(
    name: str, release: Release, replicas: Sequence[Replica], proxy: Proxy, steps: Steps
) -> str | None:
    """Migrate, then replace one replica after the other; why it ended there, if it did."""
    steps.begin(f"{name}: migrate")
    with slow_client(replicas[0].database):
        done = release.run(
            *("alembic", "upgrade", "head"),
            DATABASE_URL=replicas[0].database,
            MIGRATION_LOCK_TIMEOUT=f"{LOCK_TIMEOUT}",
        )
    if done.returncode:
        return done.stdout
    replace(name, release, replicas, proxy, steps)
    return None


def replace(
    name: str, release: Release, replicas: Sequence[Replica], proxy: Proxy, steps: Steps
) -> None:
    for number, replica in enumerate(replicas, 1):
        steps.begin(f"{name}: stop web{number}")
        replica.stop()
        steps.begin(f"{name}: start web{number}")
        replica.start(release)
        until(lambda: len(proxy.up()) == len(replicas))
    steps.begin(f"{name}: done")
