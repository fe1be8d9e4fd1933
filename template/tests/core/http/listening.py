"""An application on a real socket, as uvicorn serves it, in the event loop of the tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from app.core.http.protocol import BoundedHttpProtocol


@asynccontextmanager
async def listening(
    application: Any, protocol: type[BoundedHttpProtocol] = BoundedHttpProtocol
) -> AsyncIterator[int]:
    """Yield the port."""
    config = Config(application, log_config=None, access_log=False, lifespan="off")
    config.load()

    def connect() -> BoundedHttpProtocol:
        return protocol(config=config, server_state=ServerState(), app_state={})

    async with await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
