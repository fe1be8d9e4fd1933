"""The application factory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig

from app.core.config import Environment, Settings
from app.core.db.base import Base
from app.core.db.engine import create_engine
from app.core.db.migrate import migrating
from app.core.db.session import Database
from app.core.db.tables import create_tables
from app.core.docs import add_docs
from app.core.errors import add_error_handlers
from app.core.logging import configure_logging
from app.core.middleware import METRICS, MONITORING, add_middleware
from app.core.openapi import ERRORS, add_problems, check_operation_ids, operation_id
from app.core.project import PROJECT
from app.core.readiness import Readiness, needed_revisions
from app.core.shutdown import announced_shutdown

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


def create_application(
    router: APIRouter, settings: Settings, *, create_tables_on_start: bool | None = None
) -> FastAPI:
    """Make the service: `router` served with `settings`.

    Args:
        create_tables_on_start: make all tables from the models at start, without migrations;
            `None` follows `settings.CREATE_TABLES_ON_START`.

    Raises:
        ValueError: `create_tables_on_start` in production.
    """
    if create_tables_on_start is None:
        create_tables_on_start = settings.CREATE_TABLES_ON_START
    if create_tables_on_start and settings.ENVIRONMENT is Environment.PRODUCTION:
        raise ValueError("create_tables_on_start is refused in production: run the migrations")

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        check_operation_ids(application)
        async with AsyncExitStack() as stack:
            engine = create_engine(settings)
            stack.push_async_callback(engine.dispose)
            application.state.engine = engine
            application.state.database = database = Database(
                engine,
                pool_size=settings.DATABASE_POOL_SIZE,
                pool_timeout=settings.DATABASE_POOL_TIMEOUT,
            )
            if telemetry:
                await stack.enter_async_context(telemetry.exporting(engine, database))
            if create_tables_on_start:
                await create_tables(engine, Base.metadata)
            # Tables that were just made from the models are what this code needs.
            revisions = None if create_tables_on_start else needed_revisions()
            readiness = Readiness(settings, revisions)
            stack.push_async_callback(readiness.close)
            application.state.readiness = readiness
            await readiness.refuse_wrong_database()
            if settings.MIGRATE_ON_START:
                await stack.enter_async_context(migrating())
            stack.enter_context(announced_shutdown(settings.SHUTDOWN_DELAY, readiness.drain))
            yield

    configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)
    telemetry = None
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT or settings.METRICS:
        from app.core.telemetry import Telemetry

        telemetry = Telemetry(settings, exclude=MONITORING)
    application = FastAPI(
        title=PROJECT.name,
        description=PROJECT.description,
        version=PROJECT.version,
        lifespan=lifespan,
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
