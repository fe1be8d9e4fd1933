"""Clients can be generated from the document."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter

from app.core.application import create_application
from app.core.config import Settings
from app.core.startup import StartupError

METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    return document


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from (operation for method, operation in path.items() if method in METHODS)


async def test_operations_have_names_of_their_own_and_tags(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]

    assert len(set(names)) == len(names) > 0
    assert all(operation["tags"] for operation in operations(document))


async def test_every_operation_tells_what_an_error_looks_like(document: dict[str, Any]) -> None:
    for operation in operations(document):
        for status in ("4XX", "5XX"):
            [(media_type, content)] = operation["responses"][status]["content"].items()
            assert media_type == "application/problem+json"
            assert content["schema"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_two_operations_of_one_name_are_refused_in_one_sentence(settings: Settings) -> None:
    router = APIRouter()
    for path in ("/users", "/teams"):

        @router.get(path)
        async def list_all() -> None: ...

    application = create_application(router, settings)

    with pytest.raises(StartupError, match=r"GET /users and GET /teams .*'list_all'"):
        async with application.router.lifespan_context(application):
            pass
