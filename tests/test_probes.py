"""A service that runs: before its migrations, without its database, behind a proxy, at its end."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import psutil
import psycopg
import pytest

from packages.slipway.tests.processes import environment, free_port, until
from slipway import devdb
from tests.project import DEADLINE, Project, status

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Service:
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def live(self) -> int | None:
        return status(f"{self.url}/health/live")

    def ready(self) -> int | None:
        return status(f"{self.url}/health/ready")


@contextmanager
def started(project: Project, database: str, **variables: str) -> Iterator[Service]:
    """The server itself, with nothing between it and the signals that it gets."""
    port = free_port()
    process = subprocess.Popen(
        [project.path / ".venv/bin/python", "-m", "app", "--port", str(port)],
        cwd=project.path,
        env=environment({"DATABASE_URL": database, "ENVIRONMENT": "development", **variables}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    service = Service(port, process)
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
        until(lambda: service.ready() == 200)


@contextmanager
def hung(database: str) -> Iterator[None]:
    """The server takes connections, and answers nothing."""
    with psycopg.connect(database) as connection:
        postmaster = psutil.Process(connection.info.backend_pid).parent()
    assert postmaster
    # First the one that starts and buries the others.
    postmaster.suspend()
    try:
        children = postmaster.children(recursive=True)
        for child in children:
            child.suspend()
        yield
        for child in children:
            child.resume()
    finally:
        postmaster.resume()


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
    with started(project, database, SHUTDOWN_DELAY="300") as service:
        until(lambda: service.ready() == 200)

        service.process.send_signal(signal.SIGTERM)

        # Each of these is a new connection.
        until(lambda: service.ready() == 503)
        assert service.live() == 200
        assert status(f"{service.url}/api/v1/users") == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(DEADLINE) == -signal.SIGTERM


def test_a_second_signal_does_not_wait(project: Project, database: str) -> None:
    with started(project, database, SHUTDOWN_DELAY="300") as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.ready() == 503)
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(DEADLINE) == -signal.SIGTERM


def test_a_request_that_runs_is_answered_before_the_stop(project: Project, database: str) -> None:
    migrate(project, database)
    body = b'{"email": "ada@example.com", "full_name": "Ada"}'
    head = (
        b"POST /api/v1/users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    with started(project, database) as service:
        until(lambda: service.ready() == 200)
        with socket.create_connection(("127.0.0.1", service.port), DEADLINE) as client:
            client.sendall(head)
            assert client.recv(1000).startswith(b"HTTP/1.1 100 ")  # it runs, and waits for the body

            service.process.send_signal(signal.SIGTERM)
            until(lambda: service.live() is None)
            client.sendall(body)

            assert client.recv(1000).startswith(b"HTTP/1.1 201 ")
        assert service.process.wait(DEADLINE) == -signal.SIGTERM


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("trusted", "scheme"), [("", "http"), ("127.0.0.0/8", "https")])
def test_only_a_proxy_that_is_trusted_says_what_the_scheme_was(
    project: Project, database: str, workers: str, trusted: str, scheme: str
) -> None:
    with started(project, database, WORKERS=workers, TRUSTED_PROXIES=trusted) as service:
        answer = httpx2.get(f"{service.url}/api/v1/users/", headers={"x-forwarded-proto": "https"})
        service.process.terminate()  # it ends its workers too
        service.process.wait(DEADLINE)

    assert answer.headers["location"].startswith(f"{scheme}://")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_database_that_does_not_exist_ends_the_start(
    project: Project, database: str, workers: str
) -> None:
    nowhere = database.replace("/postgres?", "/nowhere?")

    done = project.uv_run(
        *("python", "-m", "app", "--port", "0"),
        check=False,
        DATABASE_URL=nowhere,
        WORKERS=workers,
    )

    assert done.returncode == 3
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    told = [line["message"] for line in lines if line["level"] == "error"]
    assert "nowhere" in told[0]
    if workers == "1":
        assert told[1:] == ["Application startup failed. Exiting."]
    assert "Traceback" not in done.stderr


def test_every_line_of_a_start_with_reload_has_one_form(project: Project) -> None:
    with project.served("just", "dev", LOG_FORMAT="json") as url:
        log = project.path.parent / f"{url.rpartition(':')[2]}.log"
        status(f"{url}/api/v1/users?token=s3cret")
        until(lambda: '"/api/v1/users"' in log.read_text())
        written = log.read_text()

    commands = [line for line in written.splitlines() if not line.startswith("{")]
    assert all("devdb" in command for command in commands)  # just says what it runs
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    assert all(line.keys() >= {"level", "logger", "timestamp", "message"} for line in lines)
    loggers = {line["logger"] for line in lines}
    assert {"alembic.runtime.migration", "uvicorn.error", "app.requests"} <= loggers
    assert "s3cret" not in written
