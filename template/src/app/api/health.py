"""Probes for whatever runs the service."""

import asyncio

from fastapi import APIRouter, HTTPException, Request, status
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.core.db.session import Database, DatabaseBusyError

router = APIRouter(prefix="/health", tags=["health"])

READY_TIMEOUT = 2


@router.get("/live")
async def live() -> dict[str, str]:
    """The process answers; nothing else is looked at, so that a lost database restarts nobody."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(request: Request) -> dict[str, str]:
    """The schema is there and the database answers: requests can be served."""
    migration: asyncio.Task[None] | None = getattr(request.app.state, "migration", None)
    if migration and not migration.done():
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "Migrations are running")
    database: Database = request.app.state.database
    try:
        async with asyncio.timeout(READY_TIMEOUT), database.session() as session:
            await session.execute(text("SELECT 1"))
    except (OSError, SQLAlchemyError, DatabaseBusyError):
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, "The database does not answer"
        ) from None
    return {"status": "ok"}
