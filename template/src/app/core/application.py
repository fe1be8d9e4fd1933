"""The application factory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig

from app.core.config import Environment, Settings
from app.core.db.base import Base
from app.core.db.engine import create_engine
from app.core.db.migrate import migrating
from app.core.db.session import Database
from app.core.db.tables import create_tables
from app.core.health.readiness import Readiness, needed_revisions
from app.core.health.shutdown import announced_shutdown
from app.core.http.docs import add_docs
from app.core.http.errors import add_error_handlers
from app.core.http.middleware import METRICS, MONITORING, add_middleware
from app.core.http.openapi import ERRORS, add_problems, check_operation_ids, operation_id
from app.core.logging import configure_logging
from app.core.project import PROJECT

if TYPE_CHECKING:
    from app.core.telemetry import Telemetry

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


def create_application(
    router: APIRouter, settings: Settings, *, create_tables_on_start: bool | None = None
) -> FastAPI:
    """Make the service: `router` served with `settings`.

    Args:
        create_tables_on_start: create all tables from the models at start, without migrations;
            `None` follows `settings.CREATE_TABLES_ON_START`.

    Raises:
        ValueError: `create_tables_on_start` in production.
    """
    if create_tables_on_start is not None:
        chosen = {"CREATE_TABLES_ON_START": create_tables_on_start}
        settings = settings.model_copy(update=chosen)
    if settings.CREATE_TABLES_ON_START and settings.ENVIRONMENT is Environment.PRODUCTION:
        raise ValueError("create_tables_on_start is refused in production: run the migrations")
    configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)
    telemetry = _telemetry(settings)
    application = FastAPI(
        title=PROJECT.name,
        description=PROJECT.description,
        version=PROJECT.version,
        lifespan=partial(lifespan, settings=settings, telemetry=telemetry),
        openapi_url="/openapi.json" if settings.DOCS else None,
        docs_url=None,
        redoc_url=None,
        telemetry=telemetry.config if telemetry else NO_TELEMETRY,
        generate_unique_id_function=operation_id,
        responses=ERRORS,
    )
    application.include_router(router)
    if telemetry and settings.METRICS:
        telemetry.serve_metrics(application, METRICS)
    if settings.DOCS:
        add_docs(application)
    add_error_handlers(application)
    add_middleware(application, settings)
    add_problems(application)
    return application


@asynccontextmanager
async def lifespan(
    application: FastAPI, *, settings: Settings, telemetry: "Telemetry | None"
) -> AsyncIterator[None]:
    """Open what all requests share, on `application.state`, and close it in reverse order."""
    check_operation_ids(application)
    async with AsyncExitStack() as stack:
        engine = create_engine(
            settings.DATABASE_URL,
            pool_size=settings.DATABASE_POOL_SIZE,
            pool_timeout=settings.DATABASE_POOL_TIMEOUT,
            connect_timeout=settings.DATABASE_CONNECT_TIMEOUT,
            statement_timeout=settings.DATABASE_STATEMENT_TIMEOUT,
        )
        stack.push_async_callback(engine.dispose)
        application.state.engine = engine
        application.state.database = database = Database(
            engine,
            pool_size=settings.DATABASE_POOL_SIZE,
            pool_timeout=settings.DATABASE_POOL_TIMEOUT,
        )
        if telemetry:
            await stack.enter_async_context(telemetry.exporting(engine, database))
        if settings.CREATE_TABLES_ON_START:
            await create_tables(engine, Base.metadata)
        # Tables that were just created from the models are what this code needs.
        revisions = None if settings.CREATE_TABLES_ON_START else needed_revisions()
        readiness = Readiness(settings.DATABASE_URL, revisions)
        stack.push_async_callback(readiness.close)
        application.state.readiness = readiness
        await readiness.refuse_wrong_database()
        if settings.MIGRATE_ON_START:
            await stack.enter_async_context(migrating())
        stack.enter_context(announced_shutdown(settings.SHUTDOWN_DELAY, readiness.drain))
        yield


def _telemetry(settings: Settings) -> "Telemetry | None":
    if not (settings.OTEL_EXPORTER_OTLP_ENDPOINT or settings.METRICS):
        return None
    # Imported here: OpenTelemetry's SDK costs time and memory at every start.
    from app.core.telemetry import Telemetry

    return Telemetry(settings, exclude=MONITORING)
