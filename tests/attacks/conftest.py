"""The service as production starts it, `python -m app`, with a log that can be read afterwards."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from packages.slipway.tests.processes import environment, free_port, until
from slipway import devdb
from tests.project import DEADLINE, Project, status


@dataclass(frozen=True)
class Service:
    """A server process, its database, and the file that it logs to."""

    port: int
    process: subprocess.Popen[bytes]
    database: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, *sent: bytes) -> socket.socket:
        """A client of its own making, which has sent this."""
        client = socket.create_connection(("127.0.0.1", self.port), DEADLINE)
        for data in sent:
            client.sendall(data)
        return client

    def ready(self) -> bool:
        return status(f"{self.url}/health/ready") == 200

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        # Also where a test has made the database read-only.
        write = "-c default_transaction_read_only=off"
        with psycopg.connect(self.database, autocommit=True, options=write) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Statements that need the table wait for as long as the block takes."""
        with psycopg.connect(self.database) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            yield

    def waiting(self) -> int:
        """How many statements wait for a lock."""
        [(count,)] = self.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type='Lock'")
        return int(count)

    def logged(self) -> list[dict[str, Any]]:
        """What it wrote, which must be lines of JSON and nothing else."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


Serve = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def serve(project: Project, tmp_path: Path) -> Iterator[Serve]:
    """Serve a migrated database with the settings given, as in production."""
    with devdb.temporary_server() as database:
        settings = {"DATABASE_URL": database, "ENVIRONMENT": "production", "LOG_FORMAT": "json"}
        Project(project.path, settings).uv_run("alembic", "upgrade", "head")

        @contextmanager
        def serve(**variables: str) -> Iterator[Service]:
            port, log = free_port(), tmp_path / "service.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [project.path / ".venv/bin/python", "-m", "app", "--port", str(port)],
                    cwd=project.path,
                    env=environment({**settings, **variables}),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            service = Service(port, process, database, log)
            try:
                until(lambda: service.ready() or process.poll() is not None)
                assert process.poll() is None, log.read_text()
                yield service
            finally:
                # Workers too, which would outlive a parent that was killed.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(DEADLINE)

        yield serve
