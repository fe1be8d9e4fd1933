"""What the server takes of headers, on a real socket."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from app.core.http.protocol import MAX_HEADERS, BoundedHttpProtocol
from tests.core.http.listening import listening

START = b"POST / HTTP/1.1\r\nhost: testserver\r\n"
CHUNKED = START + b"transfer-encoding: chunked\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: testserver\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LONG = MAX_HEADERS + 1


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body, or, at /at-once, without it."""
    body = b"" if scope["path"] == "/at-once" else await Request(scope, receive).body()
    await Response(str(len(body)))(scope, receive, send)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with listening(count) as port:
        yield port


@pytest.fixture
def after_read_timeout(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Move the clock of the event loop past what a client is waited for, however fast it is."""

    async def settled() -> None:
        # What is under way happens: a connection is accepted in three rounds of the loop.
        for _ in range(10):
            await asyncio.sleep(0)

    async def pass_by() -> None:
        loop = asyncio.get_running_loop()
        await settled()
        moved = loop.time() + BoundedHttpProtocol.read_timeout + 1 - time.monotonic()
        monkeypatch.setattr(loop, "time", lambda: time.monotonic() + moved)
        await settled()

    return pass_by


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
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"CONNECT testserver:80 HTTP/1.1\r\n\r\n",
        START + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        START + b"content-length: -1\r\n\r\n",
        START + b"x : y\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_answered_with_a_problem(port: int, request_: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_)
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"content-length: %d" % len(body) in head.lower()
    assert json.loads(body)["status"] == 400


@pytest.mark.parametrize("said", [b"", b"GET", START + b"x-header: y\r\n"])
async def test_headers_that_do_not_come_are_not_waited_for(
    port: int, after_read_timeout: Callable[[], Awaitable[None]], said: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    await after_read_timeout()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


async def test_a_body_that_was_answered_is_not_taken_for_ever(
    port: int, after_read_timeout: Callable[[], Awaitable[None]]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /at-once HTTP/1.1\r\nhost: testserver\r\ncontent-length: 9999\r\n\r\n")
    async with asyncio.timeout(10):
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"x")
    await after_read_timeout()
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            while not reader.at_eof():
                writer.write(b"x")
                await asyncio.sleep(0.01)
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.01)
    writer.close()


async def test_a_request_may_take_longer_than_its_headers(
    port: int, after_read_timeout: Callable[[], Awaitable[None]]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(START + b"content-length: 2\r\n\r\nx")
    await after_read_timeout()
    writer.write(b"x")

    assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Over a websocket what comes, once; over HTTP nothing."""
    if scope["type"] == "http":
        await Response()(scope, receive, send)
        return
    websocket = WebSocket(scope, receive, send)
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


async def test_a_websocket_on_a_connection_that_was_used_may_be_silent(
    after_read_timeout: Callable[[], Awaitable[None]],
) -> None:
    async with listening(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: testserver\r\n\r\n")
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.write(UPGRADE)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        await after_read_timeout()
        writer.write(b"\x81\x81\0\0\0\0x")  # RFC 6455, section 5.2: a text of one letter

        assert await reader.readexactly(3) == b"\x81\x01x"
        writer.close()


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


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: one\r\nhost: two\r\n\r\n",
        b"GET / HTTP/1.0\r\nhost: one\r\nhost: two\r\n\r\n",
        b"GET / HTTP/2.0\r\nhost: testserver\r\n\r\n",
        b"GET / HTTP/0.9\r\nhost: testserver\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
async def test_a_request_is_http_1_for_one_host(port: int, request_head: bytes) -> None:
    answer = await exchange(port, request_head)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


async def test_http_1_0_needs_no_host(port: int) -> None:
    assert (await exchange(port, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
