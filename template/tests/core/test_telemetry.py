"""What a collector receives, and Prometheus reads: real ones, if small."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import anyio
import httpx2
import pytest
from fastapi import APIRouter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import BaseModel, ValidationError
from sqlalchemy import text

from app.core.application import create_application
from app.core.config import Settings
from app.core.db.session import SessionDep

SECRET = "s3cret"


class Note(BaseModel):
    text: str


router = APIRouter()


@router.post("/notes/{number}")
async def make_note(number: int, body: Note, session: SessionDep) -> None:
    await session.execute(text("SELECT CAST(:value AS text)"), {"value": body.text})


@router.post("/broken")
async def break_statement(body: Note, session: SessionDep) -> None:
    await session.execute(
        text("SELECT CAST(CAST(:value AS text) AS integer)"), {"value": body.text}
    )


@router.get("/odd/{number}")
async def execute_odd_statements(number: int, session: SessionDep) -> None:
    for statement in ("", f"/*{number}*/ SELECT 1", "select(1)"):
        await session.execute(text(statement))


released = asyncio.Event()


@router.get("/hold")
async def hold_connection(session: SessionDep) -> None:
    await session.execute(text("SELECT 1"))
    await released.wait()


@dataclass
class Collector:
    """What came in by OTLP."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def traces(self) -> list[ExportTraceServiceRequest]:
        return [
            ExportTraceServiceRequest.FromString(body)
            for path, body in zip(self.paths, self.bodies, strict=True)
            if path == "/v1/traces"
        ]

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Metric]:
        return {
            metric.name: metric
            for path, body in zip(self.paths, self.bodies, strict=True)
            if path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collected = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collected.paths.append(self.path)
            collected.headers.append({name.lower(): value for name, value in self.headers.items()})
            collected.bodies.append(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        collected.url = f"http://127.0.0.1:{server.server_port}"
        yield collected
        server.shutdown()
        thread.join()


@asynccontextmanager
async def served(settings: Settings, **values: object) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service with these settings, which has stopped in the end."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    application = create_application(
        router, Settings.model_validate({**given, "ENVIRONMENT": "development", **values})
    )
    transport = httpx2.ASGITransport(application, raise_app_exceptions=False)
    async with (
        application.router.lifespan_context(application),
        httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client,
    ):
        yield client


async def scrape(client: httpx2.AsyncClient) -> list[Sample]:
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return [sample for family in families for sample in family.samples]


def pool(samples: list[Sample]) -> dict[str, float]:
    """What there is of each kind: connections of both states, the most, and who waits."""
    names = {"db_client_connection_max": "max", "db_client_connection_pending_requests": "pending"}
    return {
        sample.labels.get("db_client_connection_state", names.get(sample.name, "")): sample.value
        for sample in samples
        if sample.name.startswith("db_client_connection_")
    }


async def test_a_request_and_its_statements_are_one_trace(
    settings: Settings, collector: Collector
) -> None:
    async with served(
        settings, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="notes"
    ) as client:
        assert (await client.post("/notes/7", json={"text": "x"})).status_code == 200

    request = next(span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER)
    statement = next(
        span
        for span in collector.spans
        if attributes(span.attributes).get("db.query.text") == "SELECT CAST($1 AS text)"
    )
    assert request.name == "POST /notes/{number}"
    assert statement.trace_id == request.trace_id
    assert statement.parent_span_id == request.span_id
    resource = collector.traces[0].resource_spans[0].resource
    assert attributes(resource.attributes)["service.name"] == "notes"


async def test_a_trace_that_came_with_the_request_goes_on(
    settings: Settings, collector: Collector
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"

    async with served(settings, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as client:
        await client.post(
            "/notes/7",
            json={"text": "x"},
            headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"},
        )

    assert {span.trace_id.hex() for span in collector.spans} == {trace_id}


async def test_lines_of_the_log_name_the_trace(
    settings: Settings, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.requests")

    async with served(settings, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as client:
        await client.post("/notes/7", json={"text": "x"})

    [line] = [record.msg for record in caplog.records if record.name == "app.requests"]
    assert {line["trace_id"]} == {span.trace_id.hex() for span in collector.spans}  # type: ignore[index]


async def test_nothing_that_a_client_sent_is_sent_on(
    settings: Settings, collector: Collector
) -> None:
    async with served(settings, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as client:
        for path in ("/notes/7", "/broken", "/nowhere"):
            headers = {"authorization": SECRET}
            await client.post(f"{path}?token={SECRET}", json={"text": SECRET}, headers=headers)

    assert len(collector.spans) > 3
    assert SECRET.encode() not in b"".join(collector.bodies)


async def test_a_statement_that_fails_is_marked_with_the_code_of_postgresql(
    settings: Settings, collector: Collector
) -> None:
    async with served(settings, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as client:
        assert (await client.post("/broken", json={"text": "x"})).status_code == 500

    [span] = [
        span
        for span in collector.spans
        if "error.type" in attributes(span.attributes) and span.kind == Span.SPAN_KIND_CLIENT
    ]
    assert attributes(span.attributes)["error.type"] == "22P02"
    assert span.status.code == Status.STATUS_CODE_ERROR


async def test_requests_statements_and_pool_are_measured(
    settings: Settings, collector: Collector
) -> None:
    async with served(
        settings, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, DATABASE_POOL_SIZE=3
    ) as client:
        await client.post("/notes/7", json={"text": "x"})

    [request] = collector.metrics["http.server.request.duration"].histogram.data_points
    assert request.count == 1
    assert attributes(request.attributes)["http.route"] == "/notes/{number}"
    statements = collector.metrics["db.client.operation.duration"].histogram.data_points
    assert sum(point.count for point in statements) > 0
    [size] = collector.metrics["db.client.connection.max"].sum.data_points
    assert size.as_int == 3


async def test_the_collector_gets_the_headers_it_wants(
    settings: Settings, collector: Collector
) -> None:
    async with served(
        settings,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="api-key=abc,tenant=a%20b",
    ) as client:
        await client.post("/notes/7", json={"text": "x"})

    assert {headers["api-key"] for headers in collector.headers} == {"abc"}
    assert {headers["tenant"] for headers in collector.headers} == {"a b"}


async def test_prometheus_reads_requests_statements_and_pool(settings: Settings) -> None:
    async with served(settings, METRICS=True, DATABASE_POOL_SIZE=3) as client:
        await client.post("/notes/7", json={"text": SECRET})
        samples = await scrape(client)
        document = (await client.get("/openapi.json")).json()

    requests = [s for s in samples if s.name == "http_server_request_duration_seconds_count"]
    assert [(s.labels["http_route"], s.value) for s in requests] == [("/notes/{number}", 1)]
    assert any(s.name == "db_client_operation_duration_seconds_count" for s in samples)
    assert pool(samples) == {"max": 3, "used": 0, "idle": 1, "pending": 0}
    assert SECRET not in str(samples)
    assert "/metrics" not in document["paths"]


async def test_odd_statements_make_no_metrics_of_their_own(settings: Settings) -> None:
    async with served(settings, METRICS=True) as client:
        for number in range(3):
            assert (await client.get(f"/odd/{number}")).status_code == 200
        samples = await scrape(client)

    operations = {sample.labels.get("db_operation_name") for sample in samples} - {None}
    assert {"OTHER", "SELECT"} <= operations <= {"OTHER", "SELECT", "SHOW"}


async def test_prometheus_sees_a_pool_that_is_used_up(settings: Settings) -> None:
    async with (
        served(settings, METRICS=True, DATABASE_POOL_SIZE=1) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(3):
            tasks.create_task(client.get("/hold"))
        async with asyncio.timeout(10):
            while True:
                if pool(await scrape(client)) == {"max": 1, "used": 1, "idle": 0, "pending": 2}:
                    break
                await asyncio.sleep(0.01)
        released.set()


async def test_metrics_are_off_unless_asked_for(settings: Settings) -> None:
    async with served(settings) as client:
        assert (await client.get("/metrics")).status_code == 404


def test_metrics_of_one_of_many_workers_are_refused(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="METRICS"):
        Settings(DATABASE_URL=settings.DATABASE_URL, METRICS=True, WORKERS=2)


async def test_off_it_is_not_even_imported(settings: Settings) -> None:
    code = "import sys, app.main; print([name for name in sys.modules if '.sdk' in name])"

    result = await anyio.run_process([sys.executable, "-c", code])

    assert result.stdout.strip() == b"[]"
