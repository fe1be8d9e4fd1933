"""How what goes wrong becomes a response."""

from fastapi import FastAPI, Request, status
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError

from app.core.db.session import DatabaseBusyError

# Appendix A of PostgreSQL's manual: foreign_key_violation, unique_violation, exclusion_violation.
CONFLICTS = {"23503", "23505", "23P01"}


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
    application.exception_handler(IntegrityError)(_conflict)
    application.exception_handler(DatabaseBusyError)(_busy)
