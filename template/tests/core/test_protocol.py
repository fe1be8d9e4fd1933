"""What the server takes of headers, on a real socket."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.core.protocol import MAX_HEADERS, BoundedHttpProtocol

START = b"POST / HTTP/1.1\r\nhost: testserver\r\n"
CHUNKED = START + b"transfer-encoding: chunked\r\n\r\n"
LONG = MAX_HEADERS + 1


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await Response(str(len(body)))(scope, receive, send)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = Config(count, log_config=None, lifespan="off")
    config.load()

    def protocol() -> BoundedHttpProtocol:
        return BoundedHttpProtocol(config=config, server_state=ServerState(), app_state={})

    async with await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def exchange(port: int, *parts: bytes) -> bytes:
    """The head of the answer to all this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.writelines(parts)
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (START, b"x-header: y\r\n"),
        (START + b"x-header: ", b"x"),
        (START, b"x"),
        (b"GET /", b"x"),
        (CHUNKED + b"0\r\n", b"x-trailer: y\r\n"),
        (CHUNKED + b"0\r\nx-trailer: ", b"x"),
    ],
    ids=["headers", "value", "name", "path", "trailers", "trailer"],
)
async def test_headers_that_do_not_end_are_cut_off(port: int, start: bytes, piece: bytes) -> None:
    answer = await exchange(port, start, piece * (LONG // len(piece) + 1))

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "parts",
    [
        (START, b"content-length: %d\r\n\r\n" % LONG, b"x" * LONG),
        (CHUNKED, b"1\r\nx\r\n" * LONG, b"0\r\n\r\n"),
    ],
    ids=["in one", "in chunks"],
)
async def test_a_long_body_is_no_header(port: int, parts: tuple[bytes, ...]) -> None:
    answer = await exchange(port, *parts)

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_many_requests_on_one_connection_are_no_long_one(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(200):
        writer.write(START + b"x-header: " + b"x" * 1000 + b"\r\ncontent-length: 0\r\n\r\n")
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1)
    writer.close()
