"""Errors become problems of RFC 9457: `application/problem+json`."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, JsonValue
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from structlog.contextvars import bind_contextvars

from app.core.db.engine import DatabaseUnavailableError
from app.core.db.session import DatabaseBusyError
from app.core.http.request_log import route_template

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# Appendix A of PostgreSQL's manual. A NOT NULL violation is a bug of this service, so a 500.
RESTRICT_VIOLATION, FOREIGN_KEY_VIOLATION = "23001", "23503"
UNIQUE_VIOLATION, CHECK_VIOLATION, EXCLUSION_VIOLATION = "23505", "23514", "23P01"
CONFLICTS = {
    RESTRICT_VIOLATION: "Still referenced by other records",
    FOREIGN_KEY_VIOLATION: "Refers to a missing record, or is still referenced",
    UNIQUE_VIOLATION: "Already exists",
    CHECK_VIOLATION: "Violates a rule",
    EXCLUSION_VIOLATION: "Overlaps with an existing record",
}
# The statement was cancelled, by a limit or an administrator of the server, or gave way to another
# transaction. Nothing is retried here: only the client knows whether it may repeat.
QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"
SERIALIZATION_FAILURE, DEADLOCK_DETECTED = "40001", "40P01"
GIVEN_UP = {QUERY_CANCELED, LOCK_NOT_AVAILABLE, SERIALIZATION_FAILURE, DEADLOCK_DETECTED}


class FieldProblem(BaseModel):
    """One invalid field: its location, a message for people, and a type for programs."""

    loc: Sequence[str]
    msg: str
    type: str


class Problem(BaseModel):
    """RFC 9457; without `type`, a problem means no more than its status.

    `errors` names the fields of a 422, `constraint` is what a 409 violates, and the `id` of a 500
    is in the log.
    """

    title: str
    status: int
    detail: JsonValue = None
    errors: Sequence[FieldProblem] | None = None
    constraint: str | None = None
    id: str | None = None


def problem(
    status: int,
    detail: JsonValue = None,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    """Make the response of a problem."""
    title = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    content = Problem(
        title=title, status=status, detail=None if detail == title else detail, **members
    )
    return JSONResponse(
        content.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE
    )


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {**(headers or {}), "Allow": ", ".join(_methods(request))}
    return problem(error.status_code, error.detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """All methods of the requested path: the route that refuses knows only its own."""
    path = route_template(request.scope)
    contexts = iter_route_contexts(request.app.routes)
    return sorted(
        {m for route in contexts if route.path_format == path for m in route.methods or ()}
    )


async def _bad_input(request: Request, error: RequestValidationError) -> JSONResponse:
    """Name the invalid fields without the input: it may be a secret, or not even JSON."""
    errors = [
        FieldProblem(
            loc=[str(part).encode(errors="replace").decode() for part in found["loc"]],
            type=found["type"],
            msg=found["msg"],
        )
        for found in error.errors()
    ]
    return problem(422, "Validation failed", errors=errors)


async def _stale(request: Request, error: StaleDataError) -> JSONResponse:
    return problem(409, "Changed or deleted by another request")


async def _conflict(request: Request, error: IntegrityError) -> JSONResponse:
    """The request conflicts with existing records or violates a constraint."""
    detail = CONFLICTS.get(getattr(error.orig, "sqlstate", ""))
    if detail is None:
        raise error
    cause = error.orig and error.orig.__cause__
    return problem(409, detail, constraint=getattr(cause, "constraint_name", None))


async def _busy(request: Request, error: DatabaseBusyError) -> JSONResponse:
    return problem(503, "The service is busy, try again", headers={"Retry-After": "1"})


async def _unavailable(request: Request, error: DatabaseUnavailableError) -> JSONResponse:
    log.warning("The database is unavailable: %s", _describe(error.__cause__ or error))
    return problem(503, "The database is unavailable, try again", headers={"Retry-After": "1"})


async def _given_up(request: Request, error: DBAPIError) -> JSONResponse:
    if getattr(error.orig, "sqlstate", None) not in GIVEN_UP:
        raise error
    log.warning("The database gave up a statement: %s", _describe(error.orig))
    return problem(503, "The database is busy, try again", headers={"Retry-After": "1"})


def _describe(error: BaseException | None) -> str:
    """The error in one line, with PostgreSQL's code where it has one."""
    text = " ".join(str(error).split()) or type(error).__name__
    code = getattr(error, "sqlstate", None)
    return f"{code}, {text}" if code else text


async def _bad_output(request: Request, error: ResponseValidationError) -> JSONResponse:
    """A bug too; without the response, which the message would show."""
    for found in error.errors():
        found.pop("input", None)
    raise error


async def answer_bug(request: Request, error: Exception) -> JSONResponse:
    """The server logs the error and its traceback, with the same id."""
    request_id = request.scope.get("request_id")
    if request_id is None:  # a middleware outside of ours failed
        request_id = uuid4().hex
        bind_contextvars(request_id=request_id)
    # The server closes the connection; a proxy that reuses it would lose its next request.
    return problem(500, id=request_id, headers={"Connection": "close"})


def add_error_handlers(application: FastAPI) -> None:
    application.exception_handler(HTTPException)(_http)
    application.exception_handler(RequestValidationError)(_bad_input)
    application.exception_handler(IntegrityError)(_conflict)
    application.exception_handler(DBAPIError)(_given_up)
    application.exception_handler(StaleDataError)(_stale)
    application.exception_handler(DatabaseBusyError)(_busy)
    application.exception_handler(DatabaseUnavailableError)(_unavailable)
    application.exception_handler(ResponseValidationError)(_bad_output)
    application.exception_handler(Exception)(answer_bug)
