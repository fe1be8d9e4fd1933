"""The OpenAPI document, such that clients can be generated from it."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from app.core.errors import MEDIA_TYPE, Problem
from app.core.startup import StartupError

REFERENCE = "#/components/schemas/{model}"
# What each operation may answer besides its own responses; `add_problems` says what they are.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }
    for status, description in {"4XX": "A mistake in the request", "5XX": "A fault of ours"}.items()
}


def operation_id(route: APIRoute) -> str:
    """The name of the function: what generated clients call their methods, whatever the path."""
    return route.name


def check_operation_ids(application: FastAPI) -> None:
    """Two operations of one name would be one method of a client.

    Raises:
        StartupError: there are such.
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
    """Describe in the document what an error looks like."""
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
