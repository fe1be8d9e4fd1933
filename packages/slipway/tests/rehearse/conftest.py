"""Databases for each test, and a project for each module: its revisions lie side by side on the
same tables."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from packages.slipway.tests.history import History
from packages.slipway.tests.rehearse.project import Rehearsed, Tracing, rehearsed
from packages.slipway.tests.rehearse.recorded import rehearse
from slipway.rehearse.model import Rehearsal
from slipway.rehearse.seeding.catalogue import CatalogTable, read_tables
from slipway.rehearse.seeding.rows import Filled, fill

NUMBERS = count()


@dataclass(frozen=True)
class Database:
    url: str

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run scripts; return the rows of the last one, if it has any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def count(self, table: CatalogTable) -> int:
        [(number,)] = self.run(f"SELECT count(*) FROM {table.own}")  # noqa: S608
        return int(number)

    def tables(self) -> dict[str, CatalogTable]:
        async def read() -> Sequence[CatalogTable]:
            engine = create_async_engine(make_url(self.url).set(drivername="postgresql+asyncpg"))
            async with engine.connect() as connection:
                tables = await read_tables(connection)
            await engine.dispose()
            return tables

        return {table.title: table for table in asyncio.run(read())}

    def fill(self, rows: int) -> dict[str, Filled]:
        async def filled() -> Sequence[Filled]:
            engine = create_async_engine(make_url(self.url).set(drivername="postgresql+asyncpg"))
            async with engine.begin() as connection:
                done = await fill(connection, await read_tables(connection), rows)
            await engine.dispose()
            return done

        return {done.table.title: done for done in asyncio.run(filled())}


@contextmanager
def _database(server: str) -> Iterator[Database]:
    name = f"rehearse_{next(NUMBERS)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield Database(server.replace("/postgres?", f"/{name}?"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(server: str) -> Iterator[Database]:
    with _database(server) as database:
        yield database


@pytest.fixture
def another(server: str) -> AbstractContextManager[Database]:
    return _database(server)


@pytest.fixture(scope="module")
def project(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    with rehearsed(server, tmp_path_factory.mktemp("rehearsed"), "rehearsed") as project:
        yield project


@pytest.fixture(scope="module")
def tracing(project: Rehearsed, server: str) -> Iterator[Tracing]:
    """Traces the code of an upgrade on a copy of the database, all in one process."""
    with Tracing(project, server) as tracing:
        yield tracing


# ---- A real rehearsal, once for each worker

REWRITE = """
op.add_column("items", sa.Column("email", sa.Text))
op.execute("ALTER TABLE items ALTER COLUMN amount TYPE bigint")
"""
INDEX = 'create_index_concurrently("ix_teams_name", "teams", ["name"])'


@pytest.fixture(scope="session")
def rehearsal(server: str, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """A rewrite that gives up once because a client is slow, and an index that disturbs nobody."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE pictured")
    folder = tmp_path_factory.mktemp("pictured")
    return rehearse(
        History(folder, server.replace("/postgres?", "/pictured?")),
        *(REWRITE, INDEX),
        tables=("items", "teams"),
        rows=50_000,
        blocker="SELECT * FROM items LIMIT 1",
        verdict="Not safe: items was locked while it was written anew.",
    )
