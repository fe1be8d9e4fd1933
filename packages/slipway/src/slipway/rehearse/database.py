"""Does work on a scratch database, on a connection of its own."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from slipway import interrupts
from slipway.errors import message_of
from slipway.project.configuration import ProjectError
from slipway.scratch import ScratchDatabase

T = TypeVar("T")


def url_of(database: ScratchDatabase) -> str:
    return database.url.render_as_string(hide_password=False)


def run_on(database: ScratchDatabase, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do work in a transaction of its own.

    Raises:
        ProjectError: the server is gone, or refuses what is asked.
    """

    async def run() -> T:
        engine = create_async_engine(database.url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except (OSError, DBAPIError) as error:
            raise ProjectError(f"{database.name}: {message_of(error)}") from error
        finally:
            await engine.dispose()

    return interrupts.run(run())
