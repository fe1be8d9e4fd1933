"""A service at its limits says so, and stays alive."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import URL

from app.api import health
from app.core.application import create_application
from app.core.config import Settings

ROUTER = APIRouter()
ROUTER.include_router(health.router)


@ROUTER.get("/endless")
async def never_answer() -> None:
    await asyncio.Event().wait()


@ROUTER.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        await asyncio.sleep(1.5)
        yield b"two"

    return StreamingResponse(parts())


@ROUTER.get("/timeout")
async def time_out() -> None:
    raise TimeoutError


def client_for(url: URL, *, router: APIRouter = ROUTER, **values: Any) -> httpx2.AsyncClient:
    settings = Settings.model_validate({"DATABASE_URL": url, "ENVIRONMENT": "production", **values})
    transport = httpx2.ASGITransport(
        create_application(router, settings), raise_app_exceptions=False
    )
    return httpx2.AsyncClient(transport=transport, base_url="http://testserver")


async def test_a_request_that_takes_too_long_is_ended(database_url: URL) -> None:
    async with client_for(database_url, REQUEST_TIMEOUT=0.05) as client:
        response = await client.get("/endless")

    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_response_that_has_begun_may_go_on(database_url: URL) -> None:
    async with client_for(database_url, REQUEST_TIMEOUT=1) as client:
        assert (await client.get("/stream")).text == "one two"


async def test_a_timeout_of_the_code_is_a_bug(database_url: URL) -> None:
    async with client_for(database_url) as client:
        assert (await client.get("/timeout")).status_code == 500


async def test_beyond_the_limit_requests_are_refused_and_probes_answered(
    database_url: URL,
) -> None:
    waiting, told = asyncio.Event(), asyncio.Event()
    router = APIRouter()
    router.include_router(health.router)

    @router.get("/until-told")
    async def wait() -> None:
        waiting.set()
        await told.wait()

    async with client_for(database_url, router=router, MAX_CONCURRENT_REQUESTS=1) as client:
        first = asyncio.create_task(client.get("/until-told"))
        await waiting.wait()
        refused = await client.get("/nowhere")
        alive = await client.get("/health/live")
        told.set()
        await first
        afterwards = await client.get("/nowhere")

    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert alive.status_code == 200
    assert afterwards.status_code == 404


@pytest.mark.parametrize(
    ("values", "status"),
    [({}, 404), ({"DOCS": True}, 200), ({"ENVIRONMENT": "development"}, 200)],
)
async def test_production_has_no_docs_unless_they_are_asked_for(
    database_url: URL, values: dict[str, Any], status: int
) -> None:
    async with client_for(database_url, **values) as client:
        assert (await client.get("/openapi.json")).status_code == status
        assert (await client.get("/docs")).status_code == status


@ROUTER.post("/body")
async def read_body(request: Request) -> int:
    return len(await request.body())


async def stalled() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


async def test_a_body_that_does_not_arrive_is_408(database_url: URL) -> None:
    async with client_for(database_url, BODY_TIMEOUT=0.05) as client:
        response = await client.post("/body", content=stalled())

    assert response.status_code == 408
    assert response.headers["connection"] == "close"


async def test_a_request_whose_body_has_not_arrived_takes_no_place(database_url: URL) -> None:
    one_place = client_for(database_url, MAX_CONCURRENT_REQUESTS=1)
    async with one_place as client, asyncio.TaskGroup() as group:
        arrived = asyncio.Event()

        async def late() -> AsyncIterator[bytes]:
            yield b"one"
            await arrived.wait()
            yield b"two"

        slow = group.create_task(client.post("/body", content=late()))
        await asyncio.sleep(0.05)
        assert (await client.post("/body", content=b"x")).json() == 1
        arrived.set()
        assert (await slow).json() == 6
