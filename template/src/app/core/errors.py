"""How what goes wrong becomes a response."""

from fastapi import FastAPI, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.core.db.session import DatabaseBusyError

# Appendix A of PostgreSQL's manual: foreign_key_violation, unique_violation, exclusion_violation.
CONFLICTS = {"23503", "23505", "23P01"}


async def _bad_input(request: Request, error: RequestValidationError) -> JSONResponse:
    """Name what is wrong and where, without the input: it may be a secret, or no JSON at all."""
    problems = [
        {
            "loc": [str(part).encode(errors="replace").decode() for part in problem["loc"]],
            "type": problem["type"],
            "msg": problem["msg"],
        }
        for problem in error.errors()
    ]
    return JSONResponse({"detail": problems}, status.HTTP_422_UNPROCESSABLE_CONTENT)


async def _stale(request: Request, error: StaleDataError) -> JSONResponse:
    return JSONResponse(
        {"detail": "This was changed or deleted by another request"}, status.HTTP_409_CONFLICT
    )


async def _conflict(request: Request, error: IntegrityError) -> JSONResponse:
    """What the client sent contradicts what is there; other violations are bugs of ours."""
    if getattr(error.orig, "sqlstate", None) not in CONFLICTS:
        raise error
    return JSONResponse(
        {"detail": "This conflicts with what is already there"}, status.HTTP_409_CONFLICT
    )


async def _busy(request: Request, error: DatabaseBusyError) -> JSONResponse:
    return JSONResponse(
        {"detail": "The service is busy, try again"},
        status.HTTP_503_SERVICE_UNAVAILABLE,
        headers={"Retry-After": "1"},
    )


def add_error_handlers(application: FastAPI) -> None:
    application.exception_handler(RequestValidationError)(_bad_input)
    application.exception_handler(IntegrityError)(_conflict)
    application.exception_handler(StaleDataError)(_stale)
    application.exception_handler(DatabaseBusyError)(_busy)
