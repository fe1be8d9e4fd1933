"""The connection that migrates: how it is opened, and what it must be able to keep."""

from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import TYPE_CHECKING, Any, overload

from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from slipway.errors import MigrationError, message_of
from slipway.runner.cancel import cancelled_by_signals
from slipway.runner.policy import Policy, application_name

if TYPE_CHECKING:  # it needs greenlet, which a project with a sync driver need not have
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

OLDEST_SERVER = 14
POOLER = (
    "a pooler in transaction mode cannot hold the lock of a migration: "
    "give env.py a URL that leads directly to PostgreSQL"
)
LOST = f"The connection loses what belongs to its session; {POOLER}"


@overload
def connect(engine: Engine) -> AbstractContextManager[Connection]: ...
@overload
def connect(engine: "AsyncEngine") -> "AbstractAsyncContextManager[AsyncConnection]": ...
def connect(engine: "Engine | AsyncEngine") -> Any:
    """Open the connection that migrates; in place of `engine.connect()` in env.py.

    Use it with `async with` for an async engine.

    Raises:
        MigrationError: the server cannot be reached, refuses this user, password or database, or is
            a pooler that refuses timeouts; or a statement of the block fails.
    """
    return _connect(engine) if isinstance(engine, Engine) else _connect_async(engine)


@contextmanager
def _connect(engine: Engine) -> Iterator[Connection]:
    try:
        connection = engine.connect()
    except (OSError, DBAPIError) as error:
        raise _unreachable(engine, error) from error
    try:
        with cancelled_by_signals(connection):
            yield connection
    except DBAPIError as error:
        raise MigrationError(message_of(error)) from error
    finally:
        # To close it would be logged as an error where the server has just gone.
        connection.invalidate()
        connection.close()


@asynccontextmanager
async def _connect_async(engine: "AsyncEngine") -> "AsyncIterator[AsyncConnection]":
    connection = engine.connect()
    try:
        await connection.start()
    except (OSError, DBAPIError) as error:
        raise _unreachable(engine, error) from error
    try:
        yield connection
    except DBAPIError as error:
        raise MigrationError(message_of(error)) from error
    finally:
        await connection.invalidate()
        await connection.close()


def _unreachable(engine: "Engine | AsyncEngine", error: Exception) -> MigrationError:
    reason = message_of(error)
    advice = f"; {POOLER}" if "startup parameter" in reason else ""
    return MigrationError(f"Cannot connect to {without_password(engine.url)}: {reason}{advice}")


def without_password(url: URL) -> str:
    """Return the URL for messages."""
    return url.difference_update_query(["password", "sslpassword"]).render_as_string()


def require_postgresql(connection: Connection) -> None:
    """Refuse other databases, and versions of PostgreSQL that are too old.

    Raises:
        MigrationError: it is one of those.
    """
    dialect = connection.dialect
    if dialect.name != "postgresql":
        raise MigrationError(f"Slipway migrates PostgreSQL; this database is {dialect.name}")
    version = dialect.server_version_info or (OLDEST_SERVER,)
    if int(version[0]) < OLDEST_SERVER:
        found = ".".join(map(str, version))
        raise MigrationError(f"Slipway needs PostgreSQL {OLDEST_SERVER} or newer; this is {found}")


def require_policy(connection: Connection, policy: Policy) -> None:
    """Refuse a connection without the timeouts of the policy.

    A pooler in transaction mode gives each transaction another session: a lock is then held by
    the next client, and what was set at the start is lost.

    Raises:
        MigrationError: they were not given to the engine, or a pooler has lost them.
    """
    setting = "SELECT setting FROM pg_settings WHERE name = 'lock_timeout'"
    if int(scalar(connection, setting)) == round(policy.lock_timeout * 1000):
        return
    # Poolers pass this name on, unlike timeouts.
    if scalar(connection, "SELECT current_setting('application_name')") == application_name():
        raise MigrationError(LOST)
    driver = connection.dialect.driver
    create = "create_async_engine" if connection.dialect.is_async else "create_engine"
    raise MigrationError(
        "The connection does not have the timeouts of the policy: give them to the engine in "
        f'env.py, {create}(…, connect_args=policy.connect_args("{driver}"))'
    )


def scalar(connection: Connection, query: str, **parameters: object) -> Any:
    """Read one value in a transaction of its own: an open one would contain all that follows."""
    try:
        return connection.scalar(text(query), parameters)
    finally:
        connection.rollback()
