"""Connections to the database: the pool of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core.config import Settings


class ConnectError(Exception):
    """There is no connection to be had; the message is one line that says to where and why."""


def create_engine(settings: Settings) -> AsyncEngine:
    """Make an engine, without connecting yet; the caller disposes of it."""
    return create_async_engine(
        settings.DATABASE_URL,
        pool_size=settings.DATABASE_POOL_SIZE,
        # Connections beyond the pool would be opened and closed under load, when it hurts most.
        max_overflow=0,
        pool_timeout=settings.DATABASE_POOL_TIMEOUT,
        connect_args={
            "timeout": settings.DATABASE_CONNECT_TIMEOUT,
            # Enforced by the client, so it also ends a wait for a server that no longer answers.
            "command_timeout": settings.DATABASE_STATEMENT_TIMEOUT,
            "server_settings": {"application_name": "web"},
        },
    )


@asynccontextmanager
async def connect(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection for something that cannot go on without one.

    Raises:
        ConnectError: the server is not there, or refuses this user, password or database.
    """
    connection = engine.connect()
    try:
        await connection.start()
    except (OSError, DBAPIError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise ConnectError(f"Cannot connect to {engine.url!r}: {reason}") from error
    try:
        yield connection
    finally:
        await connection.close()
