"""Limits on the size, the number and the duration of requests."""

import asyncio
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.errors import problem


class LimitsMiddleware:
    """Answers 413 to a body that is too large, and 503 to one request too many at once or to one
    that takes too long.

    FastAPI's `max_body_size` answers in plain text, not with a problem of RFC 9457.

    Args:
        body_size: bytes that a body may have.
        concurrency: requests that may be in progress at once.
        timeout: seconds until a response must have begun.
        exempt_paths: paths without limits, such as probes: a busy service is still alive.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_size: int,
        concurrency: int,
        timeout: float,
        exempt_paths: Iterable[str] = (),
    ) -> None:
        self.app = app
        self.body_size = body_size
        self.concurrency = concurrency
        self.timeout = timeout
        self.exempt_paths = frozenset(exempt_paths)
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.exempt_paths:
            await self.app(scope, receive, send)
            return
        if self._active >= self.concurrency:
            busy = problem(503, "The service is busy, try again", headers={"Retry-After": "1"})
            await busy(scope, receive, send)
            return
        if _declared_length(scope) > self.body_size:
            await problem(413)(scope, receive, send)
            return
        self._active += 1
        try:
            await self._respond_in_time(scope, self._counted(receive), send)
        finally:
            self._active -= 1

    def _counted(self, receive: Receive) -> Receive:
        received = 0

        async def receive_and_count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.body_size:
                raise HTTPException(413)
            return message

        return receive_and_count

    async def _respond_in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_lift_timeout(message: Message) -> None:
            # A response that has begun may stream for any time.
            if message["type"] == "http.response.start":
                timeout.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self.timeout) as timeout:
                await self.app(scope, receive, send_and_lift_timeout)
        except TimeoutError:
            if not timeout.expired():
                raise
            late = problem(503, "This took too long", headers={"Retry-After": "1"})
            await late(scope, receive, send)


def _declared_length(scope: Scope) -> int:
    value = Headers(scope=scope).get("content-length", "")
    return int(value) if value.isdecimal() else 0
