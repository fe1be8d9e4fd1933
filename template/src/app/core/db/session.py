"""Sessions: one per request, committed before the response is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker


class DatabaseBusyError(Exception):
    """No session came free in time."""


class Database:
    """Gives out sessions: at most `pool_size` at once, in the order in which they were asked for.

    The pool's own queue is not fair and starves some of its waiters under load, so nobody is let
    in who would have to queue there. `waiting` tells how many queue here.
    """

    def __init__(
        self,
        bind: AsyncEngine | AsyncConnection,
        *,
        pool_size: int,
        pool_timeout: float,
        **session_options: Any,
    ) -> None:
        self._sessions = async_sessionmaker(bind, expire_on_commit=False, **session_options)
        self._places = asyncio.Semaphore(pool_size)
        self._timeout = pool_timeout
        self.waiting = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction: committed at the end, rolled back on any exception.

        Raises:
            DatabaseBusyError: no session came free within `pool_timeout` seconds.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(self._timeout):
                await self._places.acquire()
        except TimeoutError:
            raise DatabaseBusyError from None
        finally:
            self.waiting -= 1
        try:
            async with self._sessions.begin() as session:
                yield session
        finally:
            self._places.release()


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.session() as session:
        yield session


# With the default scope the commit would come after the response: a client could be told 201 of
# a row that was never written.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
