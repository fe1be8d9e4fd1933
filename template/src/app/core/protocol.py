"""HTTP as uvicorn speaks it, with bounds on headers, which it takes for as long as they come."""

import json
from asyncio import BaseTransport, TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.core.headers import ENCODED

# Bytes; uvicorn's other implementation, h11, has the same.
MAX_HEADERS = 65_536


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends the connection of a client whose headers, or trailers, do not end, or do not come; and
    of one that goes on sending what was answered long ago.

    Headers that came at once, in one read of the socket, may be somewhat longer.
    """

    patience = 10.0  # seconds

    _pending = 0  # bytes that came since something was last handed on
    _due: TimerHandle | None = None  # for what the client owes

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Any, transport))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._pending += len(data)
        super().data_received(data)
        if self._pending > MAX_HEADERS and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        self._go_on()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending = 0
        self._go_on()
        super().on_message_complete()
        if self.cycle and self.cycle.response_complete:
            self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._wait()

    def handle_websocket_upgrade(self) -> None:
        # What follows belongs to another protocol, on the same connection.
        self._go_on()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """As a problem, like all other errors."""
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

    def _wait(self) -> None:
        self._go_on()
        self._due = self.loop.call_later(self.patience, self.transport.close)

    def _go_on(self) -> None:
        if self._due:
            self._due.cancel()
            self._due = None
