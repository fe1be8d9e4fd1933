"""Databases to try things in: which are made, and that nothing is left of them."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import create_async_engine

from slipway.project.configuration import Configuration, ProjectError
from slipway.scratch import environment, parse_url, scratch_server


def configuration(scratch_server: str = "") -> Configuration:
    return Configuration(root=Path(), folders=(), scratch_server=scratch_server)


def databases(server: str) -> set[str]:
    with psycopg.connect(server) as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    return {str(name) for (name,) in rows}


async def execute(url: URL, *statements: str) -> object:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in statements:
            answer = await connection.execute(text(statement))
    await engine.dispose()
    return answer.scalar() if answer.returns_rows else None


def test_a_named_server_gets_databases_and_keeps_none(server: str) -> None:
    before = databases(server)

    with scratch_server(configuration(), server, "overlap") as scratch:
        one, other = scratch.create(), scratch.create()
        during = databases(server) - before

    assert during == {one.name, other.name}
    assert all(name.startswith("scratch_overlap_") for name in during)
    assert databases(server) == before


def test_databases_go_after_an_error_and_with_connections_open(server: str) -> None:
    before = databases(server)

    def fail() -> None:
        with scratch_server(configuration(), server, "rehearsal") as scratch:
            made = server.replace("/postgres?", f"/{scratch.create().name}?")
            connections.append(psycopg.connect(made))
            raise ZeroDivisionError

    connections: list[psycopg.Connection] = []
    with pytest.raises(ZeroDivisionError):
        fail()

    assert databases(server) == before
    connections[0].close()


def test_a_database_can_be_a_copy(server: str) -> None:
    with scratch_server(configuration(), server, "overlap") as scratch:
        original = scratch.create()
        asyncio.run(execute(original.url, "CREATE TABLE t AS SELECT 42 AS answer"))
        copy = scratch.create(original)

        assert asyncio.run(execute(copy.url, "SELECT answer FROM t")) == 42


def test_without_a_name_the_project_makes_the_server() -> None:
    own = configuration("slipway.devdb:temporary_server")
    with scratch_server(own, "", "overlap") as scratch:
        database = scratch.create()

        assert asyncio.run(execute(database.url, "SELECT current_database()")) == database.name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "--server URL"),
        ("slipway.devdb:no_such_thing", "no_such_thing"),
        ("no_such_module:f", "no_such_module"),
    ],
)
def test_without_any_server_it_says_what_to_do(name: str, said: str) -> None:
    with (
        pytest.raises(ProjectError, match=said),
        scratch_server(configuration(name), "", "overlap"),
    ):
        pass


def test_a_server_that_refuses_is_one_sentence(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS nobody")
        connection.execute("CREATE ROLE nobody LOGIN PASSWORD 'secret'")
    url = server.replace("postgres@", "nobody:secret@")

    with (
        pytest.raises(ProjectError) as raised,
        scratch_server(configuration(), url, "overlap") as scratch,
    ):
        scratch.create()

    assert "permission denied" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "secret", "postgresql://u:secret@h", ""])
def test_what_is_no_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ProjectError) as raised:
        parse_url(url)

    assert "secret" not in str(raised.value)


def test_urls_of_libpq_are_understood() -> None:
    url = parse_url("postgres://u:p%25@h:5433/d?sslmode=require&channel_binding=require")

    assert url.render_as_string(hide_password=False) == (
        "postgresql+asyncpg://u:p%25@h:5433/d?ssl=require"
    )


def test_a_server_that_is_not_there_is_said_of_what_was_asked_of_it_first() -> None:
    nowhere = "postgresql://somebody:secret@127.0.0.1:1/postgres"

    with (
        pytest.raises(ProjectError, match="CREATE DATABASE") as reason,
        scratch_server(configuration(), nowhere, "overlap") as scratch,
    ):
        scratch.create()

    assert "secret" not in str(reason.value)


@pytest.mark.parametrize(
    ("variable", "file", "driver"),
    [
        ("", "", "asyncpg"),
        ("postgresql+psycopg2://h/d", "", "psycopg2"),
        ("", "A=1\nexport DATABASE_URL = 'postgresql+psycopg://h/d'\n", "psycopg"),
        ("postgresql://h/d", "DATABASE_URL=postgresql+psycopg://h/d\n", "psycopg"),
    ],
)
def test_programs_get_the_url_with_the_driver_that_the_project_uses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, file: str, driver: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", variable)
    (tmp_path / ".env").write_text(file)

    found = environment(parse_url("postgresql://u@h/scratch"), tmp_path)

    assert found["DATABASE_URL"] == f"postgresql+{driver}://u@h/scratch"
