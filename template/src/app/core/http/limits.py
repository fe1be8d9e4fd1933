"""Limits on the size, the number and the duration of requests."""

import asyncio
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.errors import problem

BUSY, RETRY = "The service is busy, try again", {"Retry-After": "1"}


class LimitsMiddleware:
    """Answers 413 to a body that is too large, 408 to one that takes too long to arrive, and 503 to
    one request too many at once or to one that takes too long.

    FastAPI's `max_body_size` answers in plain text, not with a problem of RFC 9457.

    Args:
        body_size: bytes that a body may have.
        body_timeout: seconds until a body must have arrived.
        concurrency: requests that may be in progress at once, those aside whose body has not
            arrived: a client could otherwise take all places by sending nothing.
        timeout: seconds until a response must have begun.
        exempt_paths: paths without limits, such as probes: a busy service is still alive.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_size: int,
        body_timeout: float,
        concurrency: int,
        timeout: float,
        exempt_paths: Iterable[str] = (),
    ) -> None:
        self.app = app
        self.body_size = body_size
        self.body_timeout = body_timeout
        self.concurrency = concurrency
        self.timeout = timeout
        self.exempt_paths = frozenset(exempt_paths)
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.exempt_paths:
            await self.app(scope, receive, send)
            return
        if self._active >= self.concurrency:
            busy = problem(503, BUSY, headers=RETRY)
            await busy(scope, receive, send)
            return
        if _declared_length(scope) > self.body_size:
            await problem(413)(scope, receive, send)
            return
        self._active += 1
        try:
            await self._respond_in_time(scope, self._limited(receive), send)
        finally:
            self._active -= 1

    def _limited(self, receive: Receive) -> Receive:
        deadline = asyncio.get_running_loop().time() + self.body_timeout
        received, complete = 0, False

        async def receive_limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            self._active -= 1
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            finally:
                self._active += 1
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self.body_size:
                raise HTTPException(413)
            if self._active > self.concurrency:
                raise HTTPException(503, BUSY, headers=RETRY)
            return message

        return receive_limited

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
            late = problem(503, "This took too long", headers=RETRY)
            await late(scope, receive, send)


def _declared_length(scope: Scope) -> int:
    value = Headers(scope=scope).get("content-length", "")
    return int(value) if value.isdecimal() else 0
