import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from fastapi import FastAPI
from sqlalchemy import URL, NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.api.router import router
from app.core.application import create_application
from app.core.config import Environment, Settings
from tests.conftest import ALEMBIC

HAS_REVISIONS = bool(ScriptDirectory.from_config(ALEMBIC).get_heads())


def application_with(url: URL, **values: object) -> FastAPI:
    settings = {"ENVIRONMENT": Environment.DEVELOPMENT, "DATABASE_URL": url, **values}
    return create_application(router, Settings.model_validate(settings))


@asynccontextmanager
async def served(application: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(application)
    async with (
        application.router.lifespan_context(application),
        httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client,
    ):
        yield client


async def execute(url: URL, *statements: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def upgrade() -> None:
    await asyncio.to_thread(command.upgrade, ALEMBIC, "head")


async def until_ready(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_live_and_ready(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).status_code == 200


async def test_without_the_database_it_lives_but_is_not_ready(
    empty_database_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    away = empty_database_url.set(query={"host": "/nowhere"})
    async with served(application_with(away)) as client:
        assert (await client.get("/health/live")).status_code == 200
        answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]
    # The details are for those who run the service only.
    assert "nowhere" not in answer.text
    assert [record for record in caplog.records if "nowhere" in record.getMessage()]


@pytest.mark.skipif(not HAS_REVISIONS, reason="there is nothing to migrate yet")
async def test_it_becomes_ready_by_itself_once_the_migrations_are_applied(
    empty_database_url: URL,
) -> None:
    async with served(application_with(empty_database_url)) as client:
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert "migrations" in answer.json()["detail"]

        await upgrade()

        await until_ready(client)


@pytest.mark.skipif(not HAS_REVISIONS, reason="there is nothing to be ahead of yet")
async def test_a_schema_ahead_of_this_code_will_do_and_a_foreign_one_will_not(
    empty_database_url: URL,
) -> None:
    await upgrade()
    newer = "UPDATE alembic_version SET version_num = 'newer'"
    await execute(empty_database_url, newer)
    async with served(application_with(empty_database_url)) as client:
        assert (await client.get("/health/ready")).status_code == 200

    await execute(empty_database_url, "COMMENT ON TABLE alembic_version IS NULL")
    async with served(application_with(empty_database_url)) as client:
        assert (await client.get("/health/ready")).status_code == 503


async def test_tables_made_from_the_models_need_no_revision(empty_database_url: URL) -> None:
    application = application_with(empty_database_url, CREATE_TABLES_ON_START=True)
    async with served(application) as client:
        assert (await client.get("/health/ready")).status_code == 200


async def test_probes_at_once_share_one_connection(empty_database_url: URL) -> None:
    others = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    engine = create_async_engine(empty_database_url, poolclass=NullPool)
    async with served(application_with(empty_database_url)) as client, engine.connect() as mine:
        answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))
        assert len({answer.status_code for answer in answers}) == 1
        assert await mine.scalar(others) == 1
    await engine.dispose()


async def test_a_pool_in_full_use_is_no_reason_not_to_be_ready(database_url: URL) -> None:
    application = application_with(database_url, DATABASE_POOL_SIZE=1)
    async with served(application) as client, application.state.database.session():
        assert (await client.get("/health/ready")).status_code == 200


async def test_a_service_that_stops_is_not_ready_but_lives(database_url: URL) -> None:
    application = application_with(database_url)
    async with served(application) as client:
        assert (await client.get("/health/ready")).status_code == 200
        application.state.readiness.drain()

        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).status_code == 200


async def test_the_docs_are_served(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    assert "/health/live" in (await client.get("/openapi.json")).json()["paths"]
