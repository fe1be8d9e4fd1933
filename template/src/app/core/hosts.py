"""Serves only the names that the service is known by, so that no other can be put into links."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import problem

PORT = re.compile(r":\d*\Z")


class HostsMiddleware:
    """Answers 400 to a request for another host: `api.example`, or `*.example` for all below it.

    Starlette's own middleware has no exceptions for `unnamed` paths, such as probes, which come by
    the address, and its answer is no problem as of RFC 9457.
    """

    def __init__(
        self, app: ASGIApp, *, allowed: Iterable[str], unnamed: Iterable[str] = ()
    ) -> None:
        self.app = app
        names = [name.lower() for name in allowed]
        self.names = frozenset(name for name in names if not name.startswith("*."))
        self.suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self.unnamed = frozenset(unnamed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"] not in self.unnamed:
            host = PORT.sub("", Headers(scope=scope).get("host", "").lower()).removesuffix(".")
            if host not in self.names and not host.endswith(self.suffixes):
                await problem(400, "This host is not served here")(scope, receive, send)
                return
        await self.app(scope, receive, send)
