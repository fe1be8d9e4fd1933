"""What stands in the log of a request, and what does not."""

import logging
from collections.abc import Callable

import httpx2
import pytest
from fastapi import APIRouter, HTTPException

from app.api.router import router
from app.core.application import create_application
from app.core.config import Settings
from app.core.http.middleware import PROBES

Line = dict[str, object]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Line]]:
    caplog.set_level(logging.INFO, "app.requests")
    return lambda: [r.msg for r in caplog.records if r.name == "app.requests"]  # type: ignore[misc]


async def test_a_line_has_the_route_and_neither_values_nor_query(
    settings: Settings, lines: Callable[[], list[Line]]
) -> None:
    things, routes = APIRouter(), APIRouter()

    @things.get("/things/{thing_id}")
    async def read_thing(thing_id: str) -> None:
        raise HTTPException(404)

    routes.include_router(things, prefix="/api/v1")
    transport = httpx2.ASGITransport(create_application(routes, settings))
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        response = await client.get("/api/v1/things/s3cret?token=s3cret")

    [line] = lines()
    assert line["method"] == "GET"
    assert line["route"] == "/api/v1/things/{thing_id}"
    assert line["status"] == response.status_code == 404
    assert isinstance(line["duration"], float)
    assert line["request_id"] == response.headers["x-request-id"]
    assert "s3cret" not in str(line)


async def test_what_matched_no_route_is_not_named(
    client: httpx2.AsyncClient, lines: Callable[[], list[Line]]
) -> None:
    await client.get("/s3cret")

    [line] = lines()
    assert line["route"] is None
    assert "s3cret" not in str(line)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("0af7651916cd43dd8448eb211c80319c", True),
        ("6f1c1f52-6a2b-4a0e-9a3f-1f2e3d4c5b6a", True),
        ("short", False),
        ("x" * 65, False),
        ("with blank in it", False),
        ("line\tbreak\t", False),
        ("12345678é", False),
    ],
)
async def test_an_id_is_taken_from_a_proxy_only_if_it_is_well_formed(
    client: httpx2.AsyncClient, given: str, taken: bool
) -> None:
    response = await client.get("/nowhere", headers={b"x-request-id": given.encode()})

    assert (response.headers["x-request-id"] == given) is taken


async def test_an_id_with_a_line_break_at_its_end_is_not_taken(settings: Settings) -> None:
    application = create_application(router, settings)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/health/live",
        "query_string": b"",
        "headers": [(b"x-request-id", b"12345678\n")],
    }
    await application(scope, receive, send)  # type: ignore[arg-type]

    assert (b"x-request-id", b"12345678\n") not in sent[0]["headers"]  # type: ignore[operator]


async def test_probes_that_succeed_leave_no_line(
    client: httpx2.AsyncClient, lines: Callable[[], list[Line]]
) -> None:
    for probe in PROBES:
        assert (await client.get(probe)).status_code == 200

    assert lines() == []
