"""Sessions: one per request, committed before the response is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session


class DatabaseBusyError(Exception):
    """No session became free in time."""


class ReadOnlyError(Exception):
    """A session for reading was asked to write."""


class _ReadSession(Session):
    """Refuses changes of objects, which it would otherwise lose."""


@event.listens_for(_ReadSession, "before_flush")
def _refuse_changes(session: Session, *_: object) -> None:
    raise ReadOnlyError("this session only reads: take SessionDep to write")


class Database:
    """Gives out sessions: at most `pool_size` at once, in the order of the requests.

    The pool's own queue is not fair and starves some waiters under load, so requests queue here
    instead. `waiting` is the number of requests in this queue.
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
        # A connection belongs to a test, and is in a transaction already.
        reader = (
            bind.execution_options(isolation_level="AUTOCOMMIT")
            if isinstance(bind, AsyncEngine)
            else bind
        )
        self._readers = async_sessionmaker(
            reader, sync_session_class=_ReadSession, **session_options
        )
        self._places = asyncio.Semaphore(pool_size)
        self._timeout = pool_timeout
        self.waiting = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction: committed at the end, rolled back on any exception.

        Raises:
            DatabaseBusyError: no session became free within `pool_timeout` seconds.
        """
        async with self._place():
            # SQLAlchemy's own context managers close in a task, which costs a tenth of a request.
            session = self._sessions()
            try:
                yield session
                await session.commit()
            finally:
                await session.close()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session without a transaction: no BEGIN and no ROLLBACK, each a round trip.

        Each statement sees what is committed by then, so several statements are not one snapshot;
        one that writes is committed at once.

        Raises:
            DatabaseBusyError: no session came free within `pool_timeout` seconds.
            ReadOnlyError: objects were added, changed or deleted in it.
        """
        async with self._place():
            session = self._readers()
            try:
                yield session
                session.sync_session.flush()  # does nothing, or raises ReadOnlyError
            finally:
                await session.close()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        self.waiting += 1
        try:
            async with asyncio.timeout(self._timeout):
                await self._places.acquire()
        except TimeoutError:
            raise DatabaseBusyError from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._places.release()


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.session() as session:
        yield session


async def get_read_session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.reading() as session:
        yield session


# With the default scope the commit would come after the response: a client could get a 201 for a
# row that was never written.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
# For requests that change nothing and need no snapshot across their statements.
ReadSessionDep = Annotated[AsyncSession, Depends(get_read_session, scope="function")]
