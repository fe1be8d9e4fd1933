"""All routes of the service."""

from fastapi import APIRouter

from app.api import health, v1
from app.core.autodiscovery import import_modules

router = APIRouter()
router.include_router(health.router)

for module in import_modules(v1):
    if not isinstance(getattr(module, "router", None), APIRouter):
        raise ImportError(f"{module.__name__} has no `router`: keep other modules elsewhere")
    router.include_router(module.router, prefix="/api/v1")
