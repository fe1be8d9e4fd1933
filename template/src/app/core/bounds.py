"""Bounds on what requests may take, so that some of them cannot take it from all others."""

import asyncio
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import problem


class BoundsMiddleware:
    """Answers 413 to a body that is too large, and 503 to a request beyond so many at once, or that
    takes too long.

    FastAPI's `max_body_size` answers in plain text, and not as a problem of RFC 9457.

    Args:
        body_size: how many bytes a body may have.
        concurrency: how many requests may be under way.
        timeout: seconds until a response must have begun.
        unbounded: paths that are always answered, such as probes: a service at its limit is alive.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_size: int,
        concurrency: int,
        timeout: float,
        unbounded: Iterable[str] = (),
    ) -> None:
        self.app = app
        self.body_size = body_size
        self.concurrency = concurrency
        self.timeout = timeout
        self.unbounded = frozenset(unbounded)
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.unbounded:
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
            await self._in_time(scope, self._bounded(receive), send)
        finally:
            self._active -= 1

    def _bounded(self, receive: Receive) -> Receive:
        received = 0

        async def receive_and_count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.body_size:
                raise HTTPException(413)
            return message

        return receive_and_count

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_go_on(message: Message) -> None:
            # What has begun may stream for as long as it likes.
            if message["type"] == "http.response.start":
                timeout.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self.timeout) as timeout:
                await self.app(scope, receive, send_and_go_on)
        except TimeoutError:
            if not timeout.expired():
                raise
            late = problem(503, "This took too long", headers={"Retry-After": "1"})
            await late(scope, receive, send)


def _declared_length(scope: Scope) -> int:
    value = Headers(scope=scope).get("content-length", "")
    return int(value) if value.isdecimal() else 0
