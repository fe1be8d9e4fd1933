"""HTTP as uvicorn speaks it, with a bound on headers, which it takes for as long as they come."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes; uvicorn's other implementation, h11, has the same.
MAX_HEADERS = 65_536


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends the connection of a client whose headers, or trailers, do not end.

    Those that came at once, in one read of the socket, may be somewhat longer.
    """

    _pending = 0  # bytes that came since something was last handed on

    def data_received(self, data: bytes) -> None:
        self._pending += len(data)
        super().data_received(data)
        if self._pending > MAX_HEADERS and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending = 0
        super().on_message_complete()
