"""The service as a process under load, while something that it needs fails."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psycopg
import pytest

from packages.slipway.tests.processes import until
from slipway import devdb
from tests.project import DEADLINE, Project, status
from tests.rolling.load import failures, load
from tests.rolling.outages import away, locked, waiting
from tests.rolling.outcome import BOUND, Outcome, Steps
from tests.rolling.proxy import proxied
from tests.rolling.replicas import Release, Replica, release, replicas
from tests.rolling.rollout import replace
from tests.test_probes import hung

pytestmark = [pytest.mark.slow, pytest.mark.timing]

LIVE, USERS, POSTS = "/health/live", "/api/v1/users", "/api/v1/posts"
# How long a request may wait for a connection of the pool, for a new one, and for a statement: the
# longest, or nobody waits in vain for a connection that a statement holds.
TIMEOUTS = {
    "DATABASE_POOL_TIMEOUT": "1",
    "DATABASE_CONNECT_TIMEOUT": "1",
    "DATABASE_STATEMENT_TIMEOUT": "3",
}
IN_TIME = sum(map(float, TIMEOUTS.values())) + BOUND


@pytest.fixture
def database() -> Iterator[str]:
    with devdb.temporary_server() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            # What a client was told is there must be there after a crash.
            connection.execute("ALTER DATABASE postgres SET synchronous_commit = on")
        yield url


@pytest.fixture
def version(project: Project, database: str, tmp_path: Path) -> Release:
    """The service, with its tables in the database."""
    version = release(project, tmp_path / "release")
    version.run("alembic", "upgrade", "head", DATABASE_URL=database)
    return version


def runs(replica: Replica) -> bool:
    return replica.process is not None and replica.process.poll() is None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["in order", "by a crash"])
def test_requests_fail_only_while_the_database_restarts(
    version: Release, database: str, tmp_path: Path, how: signal.Signals
) -> None:
    with (
        replicas(version, database, tmp_path, count=1) as [replica],
        load(replica.url, control=LIVE) as requests,
    ):
        gone = time.monotonic()
        with away(database, how):
            until(lambda: replica.ready() == 503)
            until(lambda: status(replica.url + POSTS) == 503)
        back = time.monotonic()
        until(lambda: replica.ready() == 200)
        until(lambda: status(replica.url + POSTS) == 200)
        assert runs(replica)

    failed = failures(requests)
    assert all(gone < request.end for request in failed)
    assert all(request.start < back for request in failed)
    assert [request for request in requests if request.start > back and not request.failed]


def test_requests_end_in_time_while_the_database_hangs(
    version: Release, database: str, tmp_path: Path
) -> None:
    with (
        replicas(version, database, tmp_path, count=1, **TIMEOUTS) as [replica],
        load(replica.url, control=LIVE) as requests,
    ):
        with hung(database):
            until(lambda: replica.ready() == 503)
            until(lambda: status(replica.url + POSTS) == 503)
        back = time.monotonic()
        until(lambda: replica.ready() == 200)
        until(lambda: status(replica.url + POSTS) == 200)
        assert runs(replica)

    failures(requests)
    outcome = Outcome(requests)
    assert not outcome.over(IN_TIME), outcome
    assert [request for request in requests if request.start > back and not request.failed]


def test_when_the_pool_runs_out_requests_wait_for_a_bounded_time(
    version: Release, database: str, tmp_path: Path
) -> None:
    bounds = {"DATABASE_POOL_SIZE": "2", **TIMEOUTS}
    with (
        replicas(version, database, tmp_path, count=1, **bounds) as [replica],
        load(replica.url, control=LIVE) as requests,
    ):
        with locked(database):
            until(lambda: waiting(database) == 2)
            until(lambda: status(replica.url + USERS) == 503)
            until(lambda: replica.ready() == 200)
        back = time.monotonic()
        until(lambda: status(replica.url + POSTS) == 200)

    failed = failures(requests)
    assert all(request.start < back for request in failed)
    outcome = Outcome(requests)
    assert not outcome.over(IN_TIME), outcome


def test_a_stop_behind_a_proxy_loses_no_request(
    version: Release, database: str, tmp_path: Path
) -> None:
    steps = Steps()
    with (
        replicas(version, database, tmp_path) as running,
        proxied([replica.port for replica in running]) as proxy,
        load(proxy.url) as requests,
    ):
        replace(running, version, proxy, steps)

    outcome = Outcome(requests, steps)
    assert len(outcome.service) > 100
    assert not outcome.failed, outcome


def test_a_stop_lets_requests_end_that_are_under_way(
    version: Release, database: str, tmp_path: Path
) -> None:
    def ask(client: httpx2.Client) -> int:
        return client.get(POSTS).status_code

    with (
        replicas(version, database, tmp_path, count=1, SHUTDOWN_DELAY="0") as [replica],
        ThreadPoolExecutor(3) as threads,
        httpx2.Client(base_url=replica.url, timeout=DEADLINE) as client,
    ):
        process = replica.process
        assert process
        # Connections that are kept are used again.
        assert list(threads.map(ask, [client] * 3)) == [200] * 3
        with locked(database):
            answers = [threads.submit(ask, client) for _ in range(3)]
            until(lambda: waiting(database) == 3)
            process.send_signal(signal.SIGTERM)
            until(lambda: replica.live() is None)

        assert [answer.result() for answer in answers] == [200] * 3
        assert process.wait(DEADLINE) == -signal.SIGTERM
