"""No framework at all: what the server and the load generator can do."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BODY = b'{"id":"01980000-0000-7000-8000-000000000000","email":"ada@example.com"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
