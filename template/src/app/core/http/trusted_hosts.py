"""Serves only known Host headers: others could be injected into links and redirects."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.http.errors import problem

PORT = re.compile(r":\d*\Z")
# Anything else could end like a subdomain and still lead elsewhere: `evil.com/.example`.
NAME = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z0-9_-]+")


class TrustedHostsMiddleware:
    """Answers 400 to a request for another host.

    Starlette's own middleware knows no exempt paths and does not answer with a problem of RFC 9457.

    Args:
        allowed: hosts such as `api.example`, or `*.example` for all subdomains.
        exempt_paths: paths served for any host, such as probes, which use the address.
    """

    def __init__(
        self, app: ASGIApp, *, allowed: Iterable[str], exempt_paths: Iterable[str] = ()
    ) -> None:
        self.app = app
        names = [name.lower() for name in allowed]
        self.names = frozenset(name for name in names if not name.startswith("*."))
        self.suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self.exempt_paths = frozenset(exempt_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"] not in self.exempt_paths:
            host = PORT.sub("", Headers(scope=scope).get("host", "").lower()).removesuffix(".")
            is_subdomain = NAME.fullmatch(host) and host.endswith(self.suffixes)
            if host not in self.names and not is_subdomain:
                await problem(400, "This host is not served here")(scope, receive, send)
                return
        await self.app(scope, receive, send)
