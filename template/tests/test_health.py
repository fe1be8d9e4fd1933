import httpx2
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.db.session import Database


async def test_live_and_ready(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).status_code == 200


async def test_without_the_database_it_lives_but_is_not_ready(
    application: FastAPI, client: httpx2.AsyncClient
) -> None:
    nowhere = create_async_engine("postgresql+asyncpg://nobody@/none?host=/nowhere")
    application.state.database = Database(nowhere, pool_size=1, pool_timeout=1)

    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).status_code == 503


async def test_the_docs_are_served(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    assert "/health/live" in (await client.get("/openapi.json")).json()["paths"]
