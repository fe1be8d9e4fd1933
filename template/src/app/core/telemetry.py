"""Traces and metrics by OpenTelemetry: of requests (by FastAPI), of statements and of the pool.

Imported only if the settings enable it, so that it costs nothing otherwise.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter
from typing import Any, Literal, cast

from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.util.re import parse_env_headers
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from sqlalchemy import AsyncAdaptedQueuePool, event
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.config import Settings
from app.core.db.session import Database
from app.core.project import PROJECT

# Not the first word of a comment, which may differ in each request.
FIRST_WORD = re.compile(r"\s*([A-Za-z]+)")

Execute = Callable[[DBAPICursor, str, Any, ExecutionContext], Literal[True]]

# Seconds, from OpenTelemetry's semantic conventions.
BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


class Telemetry:
    """The providers of one application; nothing is sent before `exporting`, or after it."""

    def __init__(self, settings: Settings, *, exclude: Iterable[str]) -> None:
        """Requests for the paths `exclude`, such as probes, leave no trace."""
        resource = Resource.create(
            {
                "service.name": settings.OTEL_SERVICE_NAME,
                "service.version": PROJECT.version,
                "deployment.environment.name": settings.ENVIRONMENT,
            }
        )
        self._endpoint = str(settings.OTEL_EXPORTER_OTLP_ENDPOINT or "").rstrip("/")
        headers = settings.OTEL_EXPORTER_OTLP_HEADERS
        self._headers = parse_env_headers(headers.get_secret_value(), liberal=True)
        # None: OTEL_TRACES_SAMPLER decides.
        sampler = None if self._endpoint else ALWAYS_OFF
        self._tracers = TracerProvider(sampler, resource, shutdown_on_exit=False)
        self._meters = MeterProvider(resource=resource, shutdown_on_exit=False)
        self._exclude = frozenset(exclude)

    @property
    def config(self) -> TelemetryConfig:
        """The options of FastAPI."""
        return {
            "tracer_provider": self._tracers,
            "meter_provider": self._meters,
            "tracing": bool(self._endpoint),
            # Messages of exceptions hold values; our log lines have the id of the trace.
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": lambda scope: scope["path"] in self._exclude,
        }

    def serve_metrics(self, application: FastAPI, path: str) -> None:
        """Answer Prometheus at `path`, of this process."""
        registry = CollectorRegistry()
        self._meters.add_metric_reader(
            PrometheusMetricReader(scope_info_enabled=False, registry=registry)
        )

        @application.get(path, include_in_schema=False)
        async def metrics(request: Request) -> Response:
            encode, media_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(registry), headers={"content-type": media_type})

    @asynccontextmanager
    async def exporting(self, engine: AsyncEngine, database: Database) -> AsyncIterator[None]:
        """Observe statements and pool and export; flush at the end."""
        meter = self._meters.get_meter("app")
        _observe_pool(meter, engine, database)
        _Statements(self._tracers.get_tracer("app"), meter).observe(engine)
        shutdowns = [self._tracers.shutdown, self._meters.shutdown]
        if self._endpoint:
            spans = OTLPSpanExporter(f"{self._endpoint}/v1/traces", headers=self._headers)
            self._tracers.add_span_processor(_WithoutQueries())
            self._tracers.add_span_processor(BatchSpanProcessor(spans))
            metrics = OTLPMetricExporter(f"{self._endpoint}/v1/metrics", headers=self._headers)
            reader = PeriodicExportingMetricReader(metrics)
            self._meters.add_metric_reader(reader)
            # The provider shuts down only the readers it was created with.
            shutdowns.insert(0, reader.shutdown)
        try:
            yield
        finally:
            # Each blocks until the collector answers, so it runs in a thread.
            await asyncio.gather(*(asyncio.to_thread(shutdown) for shutdown in shutdowns))


class _WithoutQueries(SpanProcessor):
    """Redacts the queries of requests, which may hold secrets."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.attributes and "url.query" in span.attributes:
            span.set_attribute("url.query", "REDACTED")


class _Statements:
    """A span and a duration for each statement, as text with parameters and without their values.

    OpenTelemetry's own instrumentation refuses SQLAlchemy 2.1, and puts the messages of errors
    into spans, with the values that PostgreSQL quotes in them.
    """

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )

    def observe(self, engine: AsyncEngine) -> None:
        for name in ("do_execute", "do_executemany"):
            event.listen(engine.sync_engine, name, self._around(name))

    def _around(self, name: str) -> Execute:
        """Wrap the execution, so that the span ends when it does, timeouts included."""

        def execute(
            cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext
        ) -> Literal[True]:
            with self._observed(statement):
                getattr(context.dialect, name)(cursor, statement, parameters, context)
            return True

        return execute

    @contextmanager
    def _observed(self, statement: str) -> Iterator[None]:
        word = FIRST_WORD.match(statement)
        operation = word[1].upper() if word else "OTHER"
        attributes = {"db.system.name": "postgresql", "db.operation.name": operation}
        started = perf_counter()
        with self._tracer.start_as_current_span(
            operation,
            kind=SpanKind.CLIENT,
            attributes={**attributes, "db.query.text": statement},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                attributes["error.type"] = getattr(error, "sqlstate", None) or type(error).__name__
                span.set_attribute("error.type", attributes["error.type"])
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                self._duration.record(perf_counter() - started, attributes)


def _observe_pool(meter: Meter, engine: AsyncEngine, database: Database) -> None:
    pool = cast(AsyncAdaptedQueuePool, engine.pool)

    def count(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(pool.checkedout(), {"db.client.connection.state": "used"})
        yield Observation(pool.checkedin(), {"db.client.connection.state": "idle"})

    meter.create_observable_up_down_counter(
        "db.client.connection.count", [count], "{connection}", "Connections that are open."
    )
    meter.create_observable_up_down_counter(
        "db.client.connection.max",
        [lambda _: [Observation(pool.size())]],
        "{connection}",
        "Connections that may be open.",
    )
    meter.create_observable_up_down_counter(
        "db.client.connection.pending_requests",
        [lambda _: [Observation(database.waiting)]],
        "{request}",
        "Requests that wait for a connection.",
    )
