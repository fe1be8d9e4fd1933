"""A PostgreSQL for each worker, an empty database for each test."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import devdb
from tests.migrator.history import History


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with devdb.temporary_server() as url:
        yield url


@pytest.fixture
def history(server: str, tmp_path: Path) -> Iterator[History]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE history")
        yield History(tmp_path, server.replace("/postgres?", "/history?"))
        connection.execute("DROP DATABASE history WITH (FORCE)")
