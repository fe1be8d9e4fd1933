"""uvicorn's HTTP/1.1 with limits on headers: uvicorn itself has none on their size and time."""

import json
from asyncio import BaseTransport, TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.core.http.security_headers import ENCODED

# Bytes; the limit of uvicorn's other implementation, h11.
MAX_HEADERS = 65_536


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes the connection if headers or trailers are too long or take too long, and if a client
    keeps sending a body after its answer.

    Headers that arrive in one read of the socket may be somewhat longer than the limit.
    """

    read_timeout = 10.0  # seconds

    _pending = 0  # bytes received since the parser last emitted an event that resets it
    _timer: TimerHandle | None = None  # closes the connection

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Any, transport))
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._pending += len(data)
        super().data_received(data)
        if self._pending > MAX_HEADERS and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending = 0
        self._stop_timer()
        super().on_message_complete()
        if self.cycle and self.cycle.response_complete:
            self._start_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._start_timer()

    def handle_websocket_upgrade(self) -> None:
        # From here on the connection speaks another protocol.
        self._stop_timer()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem of RFC 9457, like all other errors."""
        body = json.dumps({"title": "Bad Request", "status": 400, "detail": msg}).encode()
        headers = [
            *self.server_state.default_headers,
            *ENCODED,
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", body]))
        self.transport.close()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.read_timeout, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
