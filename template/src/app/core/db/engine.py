"""Connections to the database: the pool of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncpg import PostgresError
from sqlalchemy import event
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.engine.interfaces import ConnectArgsType, DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core.config import Settings

# Appendix A of PostgreSQL's manual: connection exceptions, too many connections, and a server that
# shuts down, crashed, starts, or is asked to end the statement.
UNAVAILABLE = ("08", "53300", "57P01", "57P02", "57P03")
DATA_EXCEPTION = "22"


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or does not answer in time."""


class ConnectError(Exception):
    """There is no connection to be had; the message is one line that says to where and why."""


def create_engine(settings: Settings) -> AsyncEngine:
    """Make an engine, without connecting yet; the caller disposes of it.

    Whatever then waits for the database in vain raises DatabaseUnavailableError.
    """
    engine = create_async_engine(
        settings.DATABASE_URL,
        pool_size=settings.DATABASE_POOL_SIZE,
        # Connections beyond the pool would be opened and closed under load, when it hurts most.
        max_overflow=0,
        pool_timeout=settings.DATABASE_POOL_TIMEOUT,
        # Before what stands between forgets a silent connection: load balancers do after 4 minutes.
        pool_recycle=180,
        hide_parameters=True,
        connect_args={
            "timeout": settings.DATABASE_CONNECT_TIMEOUT,
            # Enforced by the client, so it also ends a wait for a server that no longer answers.
            "command_timeout": settings.DATABASE_STATEMENT_TIMEOUT,
            "server_settings": {"application_name": "web"},
        },
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "checkout", _discard_closed)
    event.listen(engine.sync_engine, "handle_error", _tell_unavailable)
    event.listen(engine.sync_engine, "handle_error", _hide_values)
    return engine


def _connect(
    dialect: Dialect, _: object, arguments: ConnectArgsType, parameters: dict[str, Any]
) -> DBAPIConnection:
    """As SQLAlchemy does it, which lets errors of the network through as they are."""
    try:
        return dialect.connect(*arguments, **parameters)
    except OSError as error:
        raise DatabaseUnavailableError(str(error)) from error


def _discard_closed(connection: DBAPIConnection, *_: object) -> None:
    """asyncpg has noticed when the server went away: asking it costs nothing, unlike a ping."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def _tell_unavailable(context: ExceptionContext) -> None:
    error = context.original_exception
    code = str(getattr(error, "sqlstate", None) or "")
    if context.is_disconnect or isinstance(error, OSError) or code.startswith(UNAVAILABLE):
        raise DatabaseUnavailableError(str(error)) from error


def _hide_values(context: ExceptionContext) -> None:
    """Take out rows and values that PostgreSQL and its driver quote: errors stand in the log."""
    error = context.original_exception
    cause = error.__cause__
    if isinstance(cause, PostgresError):
        cause.detail = None
        if str(cause.sqlstate).startswith(DATA_EXCEPTION):
            for told in (cause, error, context.sqlalchemy_exception):
                if told:
                    told.args = ("its message would quote values",)


@asynccontextmanager
async def connect(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection for something that cannot go on without one.

    Raises:
        ConnectError: the server is not there, or refuses this user, password or database.
    """
    connection = engine.connect()
    try:
        await connection.start()
    # The first connection of an engine is asked for its settings where no event tells of errors.
    except (DatabaseUnavailableError, DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        told = str(reason) or "it does not answer"
        raise ConnectError(f"Cannot connect to {engine.url!r}: {told}") from error
    try:
        yield connection
    finally:
        await connection.close()
