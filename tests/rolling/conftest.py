"""A PostgreSQL for each worker, and empty databases in it."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from slipway import devdb
from tests.rolling.scenarios import create_database

Databases = Callable[[], str]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with devdb.temporary_server() as url:
        yield url


@pytest.fixture(scope="session")
def databases(server: str) -> Databases:
    """Make an empty database; the answer is its URL."""
    return partial(create_database, server)
