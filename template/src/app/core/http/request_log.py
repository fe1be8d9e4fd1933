"""One log line per request, with an id that the response and the request's other lines carry."""

import re
from collections.abc import Iterable
from time import perf_counter
from uuid import uuid4

import structlog
from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("app.requests")

HEADER = b"x-request-id"
# An id that a proxy may have set; anything else could forge log lines.
WELL_FORMED = re.compile(rb"[A-Za-z0-9_-]{8,64}\Z")


class RequestLogMiddleware:
    """Logs method, route, status and duration, but neither bodies nor queries: they hold secrets.

    Args:
        exempt_paths: paths of which only failures (5xx) are logged, such as probes.
    """

    def __init__(self, app: ASGIApp, *, exempt_paths: Iterable[str] = ()) -> None:
        self.app = app
        self.exempt_paths = frozenset(exempt_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = given.decode() if WELL_FORMED.match(given) else uuid4().hex
        scope["request_id"] = request_id
        # Bound to the task of this request, so that the server logs an exception with it too.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            if status >= 500 or scope["path"] not in self.exempt_paths:
                self._log(scope, status, perf_counter() - started)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        span = trace.get_current_span().get_span_context()
        traced = {"trace_id": trace.format_trace_id(span.trace_id)} if span.is_valid else {}
        log.info(
            "request",
            method=scope["method"],
            route=route_template(scope),
            status=status,
            duration=round(seconds, 6),
            **traced,
        )


def route_template(scope: Scope) -> str | None:
    """The path of the matched route, with its parameters' names: `/api/v1/users/{user_id}`.

    None where no route matched: clients choose such paths freely.
    """
    # FastAPI keeps included routers as they are, and the whole path only here.
    included = scope.get("fastapi", {}).get("effective_route_context")
    path: str | None = getattr(included or scope.get("route"), "path_format", None)
    return path
