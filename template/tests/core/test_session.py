from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from sqlalchemy import URL, text

from app.core.application import create_application
from app.core.config import Settings
from app.core.db.session import SessionDep

router = APIRouter()


@router.post("/rows")
async def create_row(session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (1)"))


@router.post("/rows-then-404")
async def create_row_then_refuse(session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (1)"))
    raise HTTPException(404)


@router.post("/rows-then-error")
async def create_row_then_fail(session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (1)"))
    raise RuntimeError


@router.get("/rows")
async def count_rows(session: SessionDep) -> int:
    return int(await session.scalar(text("SELECT count(*) FROM rows")) or 0)


@pytest.fixture
async def application(empty_database_url: URL) -> AsyncIterator[FastAPI]:
    """A service with one session and one table, whose constraint is checked by the commit."""
    settings = Settings.model_validate(
        {"DATABASE_URL": empty_database_url, "DATABASE_POOL_SIZE": 1, "DATABASE_POOL_TIMEOUT": 0.1}
    )
    application = create_application(router, settings)
    async with application.router.lifespan_context(application):
        async with application.state.engine.begin() as connection:
            await connection.execute(
                text("CREATE TABLE rows (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            )
        yield application


@pytest.fixture
async def client(application: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(application, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def test_a_request_commits(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/rows")).status_code == 200
    assert (await client.get("/rows")).json() == 1


@pytest.mark.parametrize(("path", "status"), [("/rows-then-404", 404), ("/rows-then-error", 500)])
async def test_any_exception_rolls_back(client: httpx2.AsyncClient, path: str, status: int) -> None:
    assert (await client.post(path)).status_code == status
    assert (await client.get("/rows")).json() == 0


async def test_a_commit_that_fails_is_known_before_the_response(
    client: httpx2.AsyncClient,
) -> None:
    await client.post("/rows")

    assert (await client.post("/rows")).status_code == 409
    assert (await client.get("/rows")).json() == 1


async def test_who_waits_too_long_for_a_session_is_told_to_come_back(
    application: FastAPI, client: httpx2.AsyncClient
) -> None:
    async with application.state.database.session():
        response = await client.get("/rows")

    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert (await client.get("/rows")).status_code == 200
