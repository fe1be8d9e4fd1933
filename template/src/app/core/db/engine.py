"""Connections to the database: the pool of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncpg import PostgresError
from sqlalchemy import URL, event
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.engine.interfaces import ConnectArgsType, DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core.startup import StartupError

# Appendix A of PostgreSQL's manual: connection exceptions; a server without connections, memory or
# disk; one that shuts down, crashed or starts; and one that no longer takes writes.
READ_ONLY = "25006"
UNAVAILABLE = ("08", "53", "57P01", "57P02", "57P03", READ_ONLY)
DATA_EXCEPTION = "22"


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or does not answer in time."""


class ConnectError(StartupError):
    """No connection can be opened; the message is one line that says to which database and why."""


def create_engine(
    url: URL,
    *,
    pool_size: int,
    pool_timeout: float,
    connect_timeout: float,
    statement_timeout: float,
) -> AsyncEngine:
    """Make an engine, without connecting yet; the caller disposes of it.

    Statements raise DatabaseUnavailableError where the database is away or does not answer in time.

    Args:
        pool_size: connections at most.
        pool_timeout: seconds that a checkout may wait for a connection of the pool.
        connect_timeout: seconds until a new connection must be open.
        statement_timeout: seconds until a statement must be answered.
    """
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        # Connections beyond the pool would be opened and closed under load, when it hurts most.
        max_overflow=0,
        pool_timeout=pool_timeout,
        # Load balancers drop idle connections without notice after 4 minutes.
        pool_recycle=180,
        hide_parameters=True,
        connect_args={
            "timeout": connect_timeout,
            # Enforced by the client, so it also ends a wait for a server that no longer answers.
            "command_timeout": statement_timeout,
            "server_settings": {"application_name": "web"},
        },
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "checkout", _discard_closed)
    event.listen(engine.sync_engine, "handle_error", _raise_unavailable)
    event.listen(engine.sync_engine, "handle_error", _redact_values)
    return engine


def _connect(
    dialect: Dialect, _: object, arguments: ConnectArgsType, parameters: dict[str, Any]
) -> DBAPIConnection:
    """Connect as SQLAlchemy does, which does not wrap errors of the network."""
    try:
        return dialect.connect(*arguments, **parameters)
    except OSError as error:
        raise DatabaseUnavailableError(str(error)) from error


def _discard_closed(connection: DBAPIConnection, *_: object) -> None:
    """asyncpg knows when the server closed the connection: no ping, no round trip."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def _raise_unavailable(context: ExceptionContext) -> None:
    error = context.original_exception
    # SQLAlchemy reports cancellation too, as a disconnect: it must stay a cancellation.
    if not isinstance(error, Exception):
        return
    code = str(getattr(error, "sqlstate", None) or "")
    # After a failover, pooled connections lead to a server that will not write again.
    if code == READ_ONLY:
        context.is_disconnect = True
    if context.is_disconnect or isinstance(error, OSError) or code.startswith(UNAVAILABLE):
        raise DatabaseUnavailableError(str(error)) from error


def _redact_values(context: ExceptionContext) -> None:
    """Remove rows and values that PostgreSQL and its driver quote: errors are logged."""
    error = context.original_exception
    cause = error.__cause__
    if isinstance(cause, PostgresError):
        cause.detail = None
        if str(cause.sqlstate).startswith(DATA_EXCEPTION):
            for shown in (cause, error, context.sqlalchemy_exception):
                if shown:
                    shown.args = ("its message would quote values",)


@asynccontextmanager
async def connect(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection, or say in one line why there is none.

    Raises:
        ConnectError: the server is away, or refuses this user, password or database.
    """
    connection = engine.connect()
    try:
        await connection.start()
    # SQLAlchemy queries the first connection of an engine without calling `handle_error`.
    except (DatabaseUnavailableError, DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        message = str(reason) or "it does not answer"
        raise ConnectError(f"Cannot connect to {engine.url!r}: {message}") from error
    try:
        yield connection
    finally:
        await connection.close()
