"""A start that fails says so in one line."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.db.engine import ConnectError


class StartupError(Exception):
    """The service cannot start; the message is one line that says why and what to do."""


class StartupErrorMiddleware:
    """Hands an error that was foreseen to the server as its one line, not as a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        failure: Message | None = None

        async def hold_failure(message: Message) -> None:
            nonlocal failure
            if message["type"] == "lifespan.startup.failed":
                failure = message
            else:
                await send(message)

        try:
            await self.app(scope, receive, hold_failure)
        except (StartupError, ConnectError) as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        except BaseException:
            if failure:
                await send(failure)
            raise
