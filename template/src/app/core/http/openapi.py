"""The OpenAPI document, from which clients can be generated."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from app.core.http.errors import MEDIA_TYPE, Problem
from app.core.startup import StartupError

REFERENCE = "#/components/schemas/{model}"
# Responses of every operation besides its own; `add_problems` adds their schema.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }
    for status, description in {"4XX": "A mistake in the request", "5XX": "A fault of ours"}.items()
}


def operation_id(route: APIRoute) -> str:
    """The function's name, which generated clients use as the name of their method."""
    return route.name


def check_operation_ids(application: FastAPI) -> None:
    """Refuse two operations of one name: a generated client could have only one of them.

    Raises:
        StartupError: two operations have the same name.
    """
    operations: dict[str, str] = {}
    for route in iter_route_contexts(application.routes):
        if not isinstance(route.original_route, APIRoute) or not route.include_in_schema:
            continue
        for method in sorted(route.methods or ()):
            operation = f"{method} {route.path_format}"
            other = operations.setdefault(route.unique_id, operation)
            if other != operation:
                raise StartupError(
                    f"{other} and {operation} would both be the operation {route.unique_id!r} "
                    "of generated clients: rename one of the functions"
                )


def add_problems(application: FastAPI) -> None:
    """Add the schema of errors to the document."""
    make = application.openapi

    def openapi() -> dict[str, Any]:
        made = application.openapi_schema is not None
        document = make()
        if not made:
            schema = Problem.model_json_schema(mode="serialization", ref_template=REFERENCE)
            models = {**schema.pop("$defs"), "Problem": schema}
            document.setdefault("components", {}).setdefault("schemas", {}).update(models)
        return document

    application.openapi = openapi  # type: ignore[method-assign]
