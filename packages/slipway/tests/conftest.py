"""A PostgreSQL for each worker, an empty database for each test, and one process that records."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest

from packages.slipway.tests import servers
from packages.slipway.tests.history import History
from slipway import devdb
from slipway.guard import record
from slipway.guard.record import Recording, RecordingProcess


def pytest_report_header() -> str:
    """What this run is on, since each of it may be another one."""
    names = ["sqlalchemy", "alembic", "rich", "asyncpg", "psycopg", "psycopg2-binary"]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return f"on: PostgreSQL {servers.version()}, {', '.join(versions)}"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A server of the version that POSTGRESQL_VERSION names; a missing one fails the test."""
    version = servers.version()
    with devdb.temporary_server(servers.binaries(version)) as url:
        with psycopg.connect(url) as connection:
            assert connection.info.server_version // 10_000 == version
        yield url


@pytest.fixture
def history(server: str, tmp_path: Path) -> Iterator[History]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE history")
        yield History(tmp_path, server.replace("/postgres?", "/history?"))
        connection.execute("DROP DATABASE history WITH (FORCE)")


# To start one for each test would take most of the time.
RECORDER = record.recorder


class Kept:
    """A recording process that ends with the tests, or when it fails."""

    running: ClassVar[dict[str, tuple[RecordingProcess, ExitStack]]] = {}

    def __init__(self, search_path: Sequence[str]) -> None:
        helpers = [folder for folder in search_path if Path(folder, "case_helpers.py").exists()]
        self.key = " ".join(helpers)
        if self.key not in self.running:
            stack = ExitStack()
            self.running[self.key] = (stack.enter_context(RECORDER(search_path)), stack)
        self.recorder, _ = self.running[self.key]

    def ask(self, file: Path) -> None:
        self.recorder.ask(file)

    def answer(self, seconds: float) -> Recording | str:
        answer = self.recorder.answer(seconds)
        if isinstance(answer, str):
            self.running.pop(self.key)[1].close()
        return answer


@pytest.fixture(scope="session", autouse=True)
def kept_recorder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "recorder", lambda search_path: nullcontext(Kept(search_path)))
        yield
    for _, stack in Kept.running.values():
        stack.close()
