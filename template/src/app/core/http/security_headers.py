"""Security headers for browsers."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# From OWASP's REST Security Cheat Sheet, for responses that are data, not pages.
SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
ENCODED = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class SecurityHeadersMiddleware:
    """Adds each security header that a response does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                given = {name for name, _ in headers}
                missing = (header for header in ENCODED if header[0] not in given)
                message["headers"] = [*headers, *missing]
            await send(message)

        await self.app(scope, receive, send_with_headers)
