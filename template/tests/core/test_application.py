import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import URL, NullPool, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import Message

from app.core.application import create_application
from app.core.config import Environment, Settings
from app.core.db.base import Base
from app.core.health import readiness
from app.core.startup import StartupError


def settings_for(url: URL, **values: object) -> Settings:
    return Settings.model_validate(
        {"ENVIRONMENT": Environment.DEVELOPMENT, "DATABASE_URL": url, **values}
    )


async def table_names(url: URL) -> set[str]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda connection: inspect(connection).get_table_names())
    await engine.dispose()
    return set(names)


async def start(settings: Settings, create_tables_on_start: bool | None = None) -> None:
    """Start the service and stop it."""
    application = create_application(
        APIRouter(), settings, create_tables_on_start=create_tables_on_start
    )
    async with application.router.lifespan_context(application):
        pass


async def test_no_table_is_made_unless_asked_for(empty_database_url: URL) -> None:
    await start(settings_for(empty_database_url))

    assert await table_names(empty_database_url) == set()


async def test_the_setting_makes_the_tables(empty_database_url: URL) -> None:
    await start(settings_for(empty_database_url, CREATE_TABLES_ON_START=True))

    assert await table_names(empty_database_url) == set(Base.metadata.tables)


async def test_the_argument_wins_over_the_setting(empty_database_url: URL) -> None:
    await start(settings_for(empty_database_url, CREATE_TABLES_ON_START=True), False)

    assert await table_names(empty_database_url) == set()


async def test_several_processes_may_make_the_tables_at_once(empty_database_url: URL) -> None:
    settings = settings_for(empty_database_url)

    await asyncio.gather(*(start(settings, True) for _ in range(4)))

    assert await table_names(empty_database_url) == set(Base.metadata.tables)


async def test_production_refuses_to_make_tables(empty_database_url: URL) -> None:
    settings = settings_for(empty_database_url, ENVIRONMENT=Environment.PRODUCTION)

    with pytest.raises(ValueError, match="production"):
        await start(settings, True)


async def test_a_database_under_migrations_refuses_to_be_made_anew(
    empty_database_url: URL,
) -> None:
    engine = create_async_engine(empty_database_url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE alembic_version (version_num text)"))

    with pytest.raises(StartupError, match="migrations"):
        await start(settings_for(empty_database_url), True)


@asynccontextmanager
async def silent_after(answers: int, url: URL) -> AsyncIterator[URL]:
    """What stands before a server, and passes on only so many of its answers, the login's first."""
    handlers: list[asyncio.Task[Any] | None] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        told, asked = await connect(url)
        async with asyncio.TaskGroup() as both:
            both.create_task(copy(reader, asked))
            both.create_task(copy(told, writer, answers))
        for end in (writer, asked):
            end.close()

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as relay:
        yield url.set(host="127.0.0.1", port=relay.sockets[0].getsockname()[1], query={})
        await asyncio.gather(*filter(None, handlers))


async def connect(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = str(url.query.get("host") or url.host), url.port or 5432
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


async def copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: int | None = None
) -> None:
    with suppress(ConnectionError):
        while answers != 0 and (data := await reader.read(65536)):
            if answers and data[-6:-1] == b"Z\0\0\0\5":  # the server is ready for another query
                answers -= 1
            writer.write(data)
        if answers != 0:
            writer.write_eof()


@pytest.mark.parametrize("answers", range(1, 7))
async def test_a_server_that_falls_silent_does_not_end_the_start(
    empty_database_url: URL,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answers: int,
) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT", 0.2)
    async with silent_after(answers, empty_database_url) as silent:
        await start(settings_for(silent))

    assert "Not ready: Cannot connect" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "create_tables"),
    [
        ({"database": "nowhere"}, False),
        ({"username": "nowhere"}, False),
        ({"query": {"host": "/nowhere"}}, True),
    ],
    ids=["no such database", "no such user", "no server to make tables on"],
)
async def test_a_start_that_fails_is_told_in_one_line(
    empty_database_url: URL, wrong: dict[str, Any], create_tables: bool
) -> None:
    application = create_application(
        APIRouter(),
        settings_for(empty_database_url.set(**wrong)),
        create_tables_on_start=create_tables,
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    await application({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)

    [message] = sent
    assert message["type"] == "lifespan.startup.failed"
    assert "nowhere" in message["message"]
    assert "\n" not in message["message"]
