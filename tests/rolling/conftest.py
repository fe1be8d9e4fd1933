"""A PostgreSQL for each worker, and empty databases in it."""

from collections.abc import Callable, Iterator
from itertools import count

import psycopg
import pytest

import devdb

Databases = Callable[[], str]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with devdb.temporary_server() as url:
        yield url


@pytest.fixture(scope="session")
def databases(server: str) -> Databases:
    """Make an empty database; the answer is its URL."""
    numbers = count(1)

    def databases() -> str:
        name = f"rolling{next(numbers)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.replace("/postgres?", f"/{name}?")

    return databases
