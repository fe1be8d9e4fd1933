"""uvicorn's HTTP/1.1 with limits on what clients send and on the time they take to send and read.

uvicorn itself has none.
"""

import json
from asyncio import BaseTransport, TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.core.http.security_headers import ENCODED

# Bytes; the limit of uvicorn's other implementation, h11.
MAX_HEADERS = 65_536
# Bytes that a client must read of its response in each `write_timeout`; proxies read all at once.
MIN_READ = 16_384


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes the connection if headers or trailers are too long or take too long, if a client keeps
    sending a body after its answer, and if it does not read the answer.

    Headers that arrive in one read of the socket may be somewhat longer than the limit.
    """

    read_timeout = 10.0  # seconds
    write_timeout = 30.0  # seconds

    _pending = 0  # bytes received since the parser last emitted an event that resets it
    _timer: TimerHandle | None = None  # closes the connection
    _write_timer: TimerHandle | None = None  # aborts it, with what the client has not read

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Any, transport))
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_write_timer()
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
        hosts = sum(name == b"host" for name, _ in self.headers)
        version = self.parser.get_http_version()
        # RFC 9112, section 3.2; the parser makes a 400 of the exception.
        if version not in ("1.0", "1.1") or hosts > 1 or (not hosts and version == "1.1"):
            raise ValueError("not HTTP/1, or without one Host header")
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
        if self.transport.is_closing():
            self._start_write_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _should_upgrade(self) -> bool:
        return super()._should_upgrade() and self._is_handshake()

    def _is_handshake(self) -> bool:
        """Whether this is a handshake of RFC 6455; uvicorn takes anything that asks for one."""
        headers = dict(self.headers)
        return (
            self.scope["method"] == "GET"
            and headers.get(b"content-length", b"0") == b"0"
            and b"transfer-encoding" not in headers
            and b"sec-websocket-key" in headers
            and headers.get(b"sec-websocket-version") == b"13"
        )

    def _unsupported_upgrade_warning(self) -> None:
        """Answer the request and end the connection, on which the parser reads nothing more."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self._close()

    def handle_websocket_upgrade(self) -> None:
        # From here on the connection speaks another protocol.
        self._stop_timer()
        super().handle_websocket_upgrade()
        websocket = self.transport.get_protocol()

        def abort_unless_accepted() -> None:
            if not getattr(websocket, "handshake_complete", True):
                self.transport.abort()

        self.loop.call_later(self.read_timeout, abort_unless_accepted)

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
        self._close()

    def _close(self) -> None:
        """Close the connection when the client has read its answer, or after the time for that."""
        self.transport.close()
        self._start_write_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.read_timeout, self._close)

    def _start_write_timer(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread and self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_timeout, self._check_read, unread)

    def _check_read(self, before: int) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size() > max(0, before - MIN_READ):
            self.transport.abort()  # `close` would wait for the client
        else:
            self._start_write_timer()

    def _stop_write_timer(self) -> None:
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
