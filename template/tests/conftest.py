"""The database and the HTTP clients of the tests.

The server is thrown away after the run, or is the one that DATABASE_URL names in the environment.
Either way each worker makes its own database there, by the migrations, once.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import httpx2
import pytest
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from slipway import devdb
from sqlalchemy import URL, NullPool, delete, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

import app.models  # noqa: F401  fills Base.metadata
from app.api.router import router
from app.core.application import create_application
from app.core.config import Environment, Settings
from app.core.db.base import Base
from app.core.db.engine import ConnectError, connect
from app.core.db.session import Database
from app.core.db.url import parse_database_url
from app.core.health import readiness

MakeDatabase = Callable[..., AbstractContextManager[URL]]

# The server for tests, if there is one; read before the environment is cleared of settings.
NAMED = os.environ.get("DATABASE_URL")
# A database there that has the schema to test against: `migrate-overlap` names that of the version
# to come. Each worker gets a copy of it, and nothing is migrated.
TEMPLATE = os.environ.get("TEST_DATABASE_TEMPLATE")
ALEMBIC = Config(toml_file=Path(__file__).parents[1] / "pyproject.toml")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for the whole run: connections cannot move from one loop to another."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _ignore_developer_settings() -> Iterator[None]:
    """Tests must not depend on settings of the developer, here or in `.env`."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setitem(Settings.model_config, "env_file", None)
        for name in Settings.model_fields:
            environment.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _slow_machine_is_ready() -> Iterator[None]:
    """A machine that pauses for two seconds must not fail a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readiness, "TIMEOUT", 30)
        yield


@pytest.fixture(scope="session")
def server_url() -> Iterator[URL]:
    """A server on which tests may make databases."""
    with nullcontext(NAMED) if NAMED else devdb.temporary_server() as server:
        try:
            url = parse_database_url(server)
            holds_tables = asyncio.run(_holds_tables(url))
        except (ValueError, ConnectError) as error:
            pytest.exit(f"DATABASE_URL cannot be used for tests: {error}", returncode=2)
        if holds_tables:
            pytest.exit(
                f"DATABASE_URL names the database {url.database!r}, which holds tables. Unset it: "
                "tests bring a server of their own; or name an empty database.",
                returncode=2,
            )
        yield url


@pytest.fixture(scope="session")
def make_database(server_url: URL) -> MakeDatabase:
    """Make a database, empty or a copy, with a name of this worker's own; drop it in the end."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")

    @contextmanager
    def make(purpose: str, template: str = "template1") -> Iterator[URL]:
        # With the process id: another run on the same server has databases of its own.
        name = f"test_{worker}_{os.getpid()}_{purpose}"
        drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        asyncio.run(_execute(server_url, drop, f"CREATE DATABASE {name} TEMPLATE {template}"))
        # Whatever reads the settings during a test finds this database, not the developer's.
        with pytest.MonkeyPatch.context() as environment:
            url = server_url.set(database=name)
            for variable in ("DATABASE_URL", "MIGRATION_DATABASE_URL"):
                environment.setenv(variable, url.render_as_string(hide_password=False))
            environment.setenv("ENVIRONMENT", Environment.DEVELOPMENT)
            yield url
        asyncio.run(_execute(server_url, drop))

    return make


@pytest.fixture(scope="session")
def database_url(make_database: MakeDatabase) -> Iterator[URL]:
    """The database of the tests, with the schema that the migrations make."""
    with make_database("app", TEMPLATE or "template1") as url:
        if not TEMPLATE:
            command.upgrade(ALEMBIC, "head")
        yield url


@pytest.fixture
def empty_database_url(make_database: MakeDatabase) -> Iterator[URL]:
    """A database without a schema, which is also the one that the settings name meanwhile."""
    if TEMPLATE:
        pytest.skip("it makes a schema of its own, and that of TEST_DATABASE_TEMPLATE is asked for")
    with make_database("empty") as url:
        yield url


@pytest.fixture(scope="session")
def settings(database_url: URL) -> Settings:
    return Settings(DATABASE_URL=database_url)


@pytest.fixture(scope="session")
async def application(settings: Settings) -> AsyncIterator[FastAPI]:
    application = create_application(router, settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture(scope="session")
def engine(application: FastAPI) -> AsyncEngine:
    engine: AsyncEngine = application.state.engine
    return engine


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction that is rolled back: what a test writes is gone after it."""
    async with engine.connect() as connection, connection.begin() as transaction:
        yield connection
        await transaction.rollback()


@pytest.fixture
async def session(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """A session that sees, and is seen by, the requests of `client`; its commits are savepoints."""
    async with AsyncSession(
        connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
    ) as session:
        yield session


@pytest.fixture
async def client(
    application: FastAPI, connection: AsyncConnection
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service; all it writes is rolled back after the test.

    Requests run one after the other, and `now()` stands still: use `committing_client` where that
    matters.
    """
    database = application.state.database
    application.state.database = Database(
        connection, pool_size=1, pool_timeout=5, join_transaction_mode="create_savepoint"
    )
    async with _client(application) as client:
        yield client
    application.state.database = database


@pytest.fixture
async def committing_client(application: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client whose requests commit and may run at once; all tables are emptied after the test."""
    async with _client(application) as client:
        yield client
    async with application.state.engine.begin() as connection:
        raw = await connection.get_raw_connection()
        tables = reversed(Base.metadata.sorted_tables)
        # The driver takes several statements at once: one round trip.
        await raw.driver_connection.execute(";".join(str(delete(table)) for table in tables))


def _client(application: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(application), base_url="http://testserver"
    )


async def _execute(url: URL, *statements: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def _holds_tables(url: URL) -> bool:
    engine = create_async_engine(url, poolclass=NullPool)
    async with connect(engine) as connection:
        tables = await connection.scalars(
            text("SELECT 1 FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema$)'")
        )
        holds_tables = tables.first() is not None
    await engine.dispose()
    return holds_tables
