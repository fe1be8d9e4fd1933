"""The probes of a service that runs: before its migrations, without its database, at its end."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import psycopg
import pytest

import devdb
from tests.processes import environment, until
from tests.project import DEADLINE, Project, status

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Service:
    url: str
    process: subprocess.Popen[bytes]

    def live(self) -> int | None:
        return status(f"{self.url}/health/live")

    def ready(self) -> int | None:
        return status(f"{self.url}/health/ready")


@contextmanager
def started(project: Project, database: str, **variables: str) -> Iterator[Service]:
    """The server itself, with nothing between it and the signals that it gets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [project.path / ".venv/bin/uvicorn", "app.main:app", "--port", str(port)],
        cwd=project.path,
        env=environment({"DATABASE_URL": database, "ENVIRONMENT": "development", **variables}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    service = Service(f"http://127.0.0.1:{port}", process)
    try:
        until(lambda: service.live() == 200 or process.poll() is not None)
        yield service
    finally:
        process.kill()
        process.wait(DEADLINE)


@pytest.fixture
def database() -> Iterator[str]:
    with devdb.temporary_server() as url:
        yield url


def migrate(project: Project, database: str) -> None:
    project.uv_run("alembic", "upgrade", "head", DATABASE_URL=database, ENVIRONMENT="development")


def test_a_replica_that_starts_before_the_migration_becomes_ready_by_itself(
    project: Project, database: str
) -> None:
    with started(project, database) as service:
        assert service.ready() == 503

        migrate(project, database)

        until(lambda: service.ready() == 200)


def test_a_project_without_revisions_is_ready(bare_project: Project, database: str) -> None:
    with started(bare_project, database) as service:
        assert service.ready() == 200


@contextmanager
def hung(database: str) -> Iterator[None]:
    """The server takes connections, and answers nothing."""
    with psycopg.connect(database) as connection:
        postmaster = psutil.Process(connection.info.backend_pid).parent()
    assert postmaster
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_a_database_that_hangs_is_noticed_in_time_and_so_is_its_return(
    project: Project, database: str
) -> None:
    migrate(project, database)
    with started(project, database) as service:
        until(lambda: service.ready() == 200)

        with hung(database):
            until(lambda: service.ready() == 503)
            assert service.ready() == 503
            assert service.live() == 200

        until(lambda: service.ready() == 200)


def test_a_stop_is_announced_to_those_who_poll(project: Project, database: str) -> None:
    migrate(project, database)
    with started(project, database, SHUTDOWN_DELAY="2") as service:
        until(lambda: service.ready() == 200)

        service.process.send_signal(signal.SIGTERM)

        # Each of these is a new connection.
        until(lambda: service.ready() == 503)
        assert service.live() == 200
        assert status(f"{service.url}/api/v1/users") == 200
        assert service.process.wait(DEADLINE) == -signal.SIGTERM


def test_a_second_signal_does_not_wait(project: Project, database: str) -> None:
    with started(project, database, SHUTDOWN_DELAY="300") as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.ready() == 503)
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(DEADLINE) == -signal.SIGTERM
