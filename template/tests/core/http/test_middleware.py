"""What stands around the routes: hosts, what browsers are told, and who answers when it breaks."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request
from sqlalchemy import URL
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import health
from app.core.application import create_application
from app.core.config import Settings
from tests.core.http.listening import listening

ORIGIN = {"origin": "https://app.example"}
HOST = {"host": "api.example"}

router = APIRouter()
router.include_router(health.router)


@router.post("/bodies")
async def take(request: Request) -> int:
    return len(await request.body())


@router.get("/bug")
async def fail() -> None:
    raise RuntimeError


@router.get("/endless")
async def never_answer() -> None:
    await asyncio.Event().wait()


def application_with(url: URL, **values: Any) -> FastAPI:
    settings = {"DATABASE_URL": url, "ENVIRONMENT": "production", **values}
    return create_application(router, Settings.model_validate(settings))


def client_of(application: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(application, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://testserver")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example", 404),
        ("API.example:8000", 404),
        ("api.example.", 404),
        ("a.b.internal", 404),
        ("[::1]", 404),
        ("[::1]:8000", 404),
        ("", 400),
        ("internal", 400),
        ("evil.example", 400),
        ("api.example.evil", 400),
        ("[::2]:8000", 400),
        ("evil.example/api.example", 400),
        ("api.example@evil.example", 400),
        ("evil.example/.internal", 400),
        ("x@evil.example/.internal", 400),
        ("evil.example#.internal", 400),
        (".internal", 400),
        ("[::1].internal", 400),
    ],
)
async def test_only_the_hosts_that_are_named_are_served(
    database_url: URL, host: str, status: int
) -> None:
    hosts = ["api.example", "*.internal", "[::1]"]
    async with client_of(application_with(database_url, ALLOWED_HOSTS=hosts)) as client:
        answer = await client.get("/nowhere", headers={"host": host})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_probes_come_by_the_address(database_url: URL) -> None:
    async with client_of(application_with(database_url, ALLOWED_HOSTS=["api.example"])) as client:
        answer = await client.get("/health/live", headers={"host": "10.0.0.1:8000"})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/bug"])
async def test_browsers_are_told_what_not_to_do(database_url: URL, path: str) -> None:
    async with client_of(application_with(database_url)) as client:
        headers = (await client.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-request-id"]


async def test_pages_of_other_origins_read_nothing_unless_they_are_named(
    database_url: URL,
) -> None:
    for origins, allowed in [([], None), ([ORIGIN["origin"]], ORIGIN["origin"])]:
        application = application_with(database_url, CORS_ALLOWED_ORIGINS=origins)
        async with client_of(application) as client:
            response = await client.get("/health/live", headers=ORIGIN)
        assert response.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nowhere", HOST, 404),
        ("PUT", "/bug", HOST, 405),
        ("GET", "/nowhere", {"host": "evil.example"}, 400),
        ("POST", "/bodies", HOST, 413),
        ("GET", "/bug", HOST, 500),
        ("GET", "/endless", HOST, 503),
    ],
)
async def test_named_pages_can_read_every_error(
    database_url: URL, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    application = application_with(
        database_url,
        ALLOWED_HOSTS=[HOST["host"]],
        CORS_ALLOWED_ORIGINS=[ORIGIN["origin"]],
        MAX_BODY_SIZE=0,
        REQUEST_TIMEOUT=0.05 if path == "/endless" else 30,
    )
    async with client_of(application) as client:
        response = await client.request(
            method,
            path,
            headers={**headers, **ORIGIN},
            content=b"body" if method == "POST" else None,
        )

    assert response.status_code == response.json()["status"] == status
    assert response.headers["access-control-allow-origin"] == ORIGIN["origin"]
    assert response.headers["access-control-expose-headers"] == "X-Request-ID"


async def test_a_bug_in_a_middleware_around_ours_has_an_id_in_the_log(
    database_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError

    application = application_with(database_url)
    application.add_middleware(Broken)
    async with listening(application) as port, httpx2.AsyncClient() as client:
        response = await client.get(f"http://127.0.0.1:{port}/health/live")

    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == response.json()["status"] == 500
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [logged] = [line for line in lines if line["logger"] == "uvicorn.error"]
    assert logged["request_id"] == response.json()["id"]
