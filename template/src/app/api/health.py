"""Liveness and readiness probes."""

from fastapi import APIRouter, HTTPException, Request, status

from app.core.health.readiness import Readiness

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """The process answers; nothing else is checked, so that a lost database restarts no replica."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(request: Request) -> dict[str, str]:
    """The database answers and has the schema that this code needs: requests can be served.

    Otherwise the answer is 503, and says why.
    """
    readiness: Readiness = request.app.state.readiness
    if problem := await readiness.problem():
        retry = {"Retry-After": "1"}
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, problem, headers=retry)
    return {"status": "ok"}
