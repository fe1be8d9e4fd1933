import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from sqlalchemy import URL, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry

from app.core.application import create_application
from app.core.config import Settings
from app.core.db.session import ReadOnlyError, ReadSessionDep, SessionDep

router = APIRouter()


class Models(DeclarativeBase):
    pass


class Row(Models):
    __tablename__ = "rows"

    id: Mapped[int] = mapped_column(primary_key=True)


@router.post("/rows")
async def create_row(session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (1)"))


@router.post("/rows-then-404")
async def create_row_then_refuse(session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (1)"))
    raise HTTPException(404)


@router.post("/rows-then-error")
async def create_row_then_fail(session: SessionDep) -> None:
    await session.execute(text("INSERT INTO rows VALUES (1)"))
    raise RuntimeError


@router.get("/rows")
async def count_rows(session: SessionDep) -> int:
    return int(await session.scalar(text("SELECT count(*) FROM rows")) or 0)


@router.get("/process")
async def process_of_the_server(session: SessionDep) -> int:
    return int(await session.scalar(text("SELECT pg_backend_pid()")) or 0)


@router.get("/transaction")
async def transactions_of_two_statements(session: ReadSessionDep) -> list[int]:
    statement = text("SELECT pg_current_xact_id()::text::bigint")
    return [int(await session.scalar(statement) or 0) for _ in range(2)]


@pytest.fixture
async def application(empty_database_url: URL) -> AsyncIterator[FastAPI]:
    """A service with one session and one table, whose constraint is checked by the commit."""
    settings = Settings.model_validate(
        {"DATABASE_URL": empty_database_url, "DATABASE_POOL_SIZE": 1, "DATABASE_POOL_TIMEOUT": 1}
    )
    application = create_application(router, settings)
    async with application.router.lifespan_context(application):
        async with application.state.engine.begin() as connection:
            await connection.execute(
                text("CREATE TABLE rows (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            )
        yield application


@pytest.fixture
async def client(application: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(application, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def test_a_request_commits(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/rows")).status_code == 200
    assert (await client.get("/rows")).json() == 1


@pytest.mark.parametrize(("path", "status"), [("/rows-then-404", 404), ("/rows-then-error", 500)])
async def test_any_exception_rolls_back(client: httpx2.AsyncClient, path: str, status: int) -> None:
    assert (await client.post(path)).status_code == status
    assert (await client.get("/rows")).json() == 0


async def test_a_commit_that_fails_is_known_before_the_response(
    client: httpx2.AsyncClient,
) -> None:
    await client.post("/rows")

    assert (await client.post("/rows")).status_code == 409
    assert (await client.get("/rows")).json() == 1


async def test_who_waits_too_long_for_a_session_is_told_to_come_back(
    application: FastAPI, client: httpx2.AsyncClient
) -> None:
    async with application.state.database.session():
        response = await client.get("/rows")

    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert (await client.get("/rows")).status_code == 200


async def test_statements_of_a_session_for_reading_are_in_no_common_transaction(
    client: httpx2.AsyncClient,
) -> None:
    first, second = (await client.get("/transaction")).json()

    assert first != second


async def _add(session: AsyncSession) -> None:
    session.add(Row(id=2))


async def _modify(session: AsyncSession) -> None:
    (await session.get_one(Row, 1)).id = 3


async def _delete(session: AsyncSession) -> None:
    await session.delete(await session.get_one(Row, 1))


@pytest.mark.parametrize("change", [_add, _modify, _delete])
async def test_a_session_for_reading_refuses_what_it_would_lose(
    application: FastAPI,
    client: httpx2.AsyncClient,
    change: Callable[[AsyncSession], Awaitable[None]],
) -> None:
    await client.post("/rows")

    async def read_and_change() -> None:
        async with application.state.database.reading() as session:
            await change(session)

    with pytest.raises(ReadOnlyError):
        await read_and_change()
    assert (await client.get("/rows")).json() == 1


async def test_after_a_session_for_reading_the_next_one_has_a_transaction(
    client: httpx2.AsyncClient,
) -> None:
    await client.get("/transaction")  # the pool has one connection

    assert (await client.post("/rows-then-404")).status_code == 404
    assert (await client.get("/rows")).json() == 0


async def test_a_connection_is_not_kept_for_longer_than_networks_know_it(
    application: FastAPI, client: httpx2.AsyncClient
) -> None:
    engine = application.state.engine
    event.listen(engine.sync_engine, "checkin", _age)

    first = (await client.get("/process")).json()
    second = (await client.get("/process")).json()

    assert first != second


def _age(_: object, record: ConnectionPoolEntry) -> None:
    record.starttime -= 240  # type: ignore[attr-defined]  # seconds


async def sleep_in(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(30)"))


async def test_a_cancelled_statement_stays_cancelled(application: FastAPI) -> None:
    engine: AsyncEngine = application.state.engine
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await sleep_in(engine)

    task = asyncio.create_task(sleep_in(engine))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise LookupError

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleep_in(engine))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as raised:
        await work()
    assert [type(error) for error in raised.value.exceptions] == [LookupError]

    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
