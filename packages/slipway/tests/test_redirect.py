"""Where connections lead: env.py files and programs that take their URL from anywhere."""

import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, make_url

from packages.slipway.tests.processes import environment
from slipway import redirect, scratch
from slipway.project.configuration import ProjectError, load
from slipway.rehearse.trace.child import watch
from slipway.scratch import parse_url, scratch_server

REVISION = """
from alembic import op

revision = "one"
down_revision = None


def upgrade():
    op.execute("CREATE TABLE made AS SELECT current_setting('lock_timeout') AS lock_timeout")
"""
HEAD = """
import asyncio, os
import asyncpg, psycopg
from sqlalchemy import create_engine, engine_from_config, event, pool
from sqlalchemy.ext.asyncio import create_async_engine

URL = os.environ["SHOP_URL"]
SYNC = URL.replace("postgresql://", "postgresql+psycopg://")
ASYNC = URL.replace("postgresql://", "postgresql+asyncpg://")
OPTIONS = {"options": "-c lock_timeout=1234ms"}
SETTINGS = {"server_settings": {"lock_timeout": "1234ms"}, "command_timeout": 60}
"""
ENV = """
from alembic import context


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def migrate_async():
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()

if hasattr(engine, "sync_engine"):
    asyncio.run(migrate_async())
else:
    with engine.connect() as connection:
        migrate(connection)
"""
# Each makes an engine that leads to the configured database.
ENGINES = {
    "written down": "engine = create_engine(SYNC, connect_args=OPTIONS)",
    "configuration": """
engine = engine_from_config({"sqlalchemy.url": SYNC}, poolclass=pool.NullPool, connect_args=OPTIONS)
""",
    "named in connect_args": """
name = psycopg.conninfo.conninfo_to_dict(URL)["dbname"]
engine = create_engine(SYNC, connect_args={"dbname": name, **OPTIONS})
""",
    "own listener": """
engine = create_engine(SYNC, connect_args=OPTIONS)

@event.listens_for(engine, "do_connect")
def token(dialect, record, arguments, parameters):
    parameters.update(user="nobody", password="of one minute")
""",
    "psycopg, async": """
engine = create_async_engine(SYNC, connect_args=OPTIONS)
""",
    "asyncpg": "engine = create_async_engine(ASYNC, connect_args=SETTINGS)",
    "asyncpg, own listener": """
engine = create_async_engine(ASYNC, connect_args=SETTINGS)

@event.listens_for(engine.sync_engine, "do_connect")
def connect(dialect, record, arguments, parameters):
    return dialect.connect(*arguments, **parameters)
""",
}
CREATORS = {
    "creator": """
engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(URL))
""",
    "pool": """
there = pool.QueuePool(lambda: psycopg.connect(URL))
engine = create_engine("postgresql+psycopg://", pool=there)
""",
    "async_creator": """
engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(URL))
""",
    "async_creator, psycopg": """
connect = lambda: psycopg.AsyncConnection.connect(URL)
engine = create_async_engine("postgresql+psycopg://", async_creator=connect)
""",
    "again and again": """
engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(URL))
while True:
    try:
        engine.connect().close()
        break
    except Exception:
        pass
""",
}


@dataclass(frozen=True)
class Configured:
    """A project with a database of its own, and a scratch database on the same server."""

    folder: Path
    url: str
    scratch: URL

    def write(self, engine: str) -> None:
        (self.folder / "env.py").write_text(HEAD + engine + ENV)

    def redirected(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program as overlap does."""
        own = {"SHOP_URL": self.url}
        return subprocess.run(
            [sys.executable, "-P", redirect.__file__, *command],
            cwd=self.folder,
            env=environment(own | scratch.environment(self.scratch, self.folder, **more)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def overlapped(self) -> subprocess.CompletedProcess[str]:
        """Upgrade as overlap does."""
        return self.redirected("-m", "alembic", "upgrade", "heads")

    def rehearsed(self) -> None:
        """Upgrade as rehearse does."""
        configuration = load(self.folder)
        url = self.scratch.render_as_string(hide_password=False)
        run = watch(configuration, url, "one")
        assert run.failure is None, run.failure

    def tables(self) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT relname, pg_stat_get_tuples_inserted(oid) FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
            ).fetchall()

    def clear(self) -> None:
        url = redirect.for_driver(self.scratch, "").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            connection.execute("DROP TABLE made, alembic_version")

    def made(self) -> str:
        """The time limit with which the revision came to the scratch database."""
        url = redirect.for_driver(self.scratch, "").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT lock_timeout FROM made").fetchone()
        assert row
        return str(row[0])


@pytest.fixture
def configured(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Configured]:
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\n")
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions/one.py").write_text(REVISION)
    own = server.replace("/postgres?", "/configured?")
    monkeypatch.setenv("SHOP_URL", own)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE configured")
        try:
            configuration = load(tmp_path)
            with scratch_server(configuration, server, "redirect") as made:
                yield Configured(tmp_path, own, made.create().url)
        finally:
            connection.execute("DROP DATABASE configured WITH (FORCE)")


ASK = """
import json
from sqlalchemy.ext.asyncio import AsyncEngine
from slipway.redirect import VARIABLE, redirect

redirect(**json.loads(os.environ[VARIABLE]))
QUESTION = "SELECT current_database(), current_setting('lock_timeout')"

async def ask(engine):
    async with engine.connect() as connection:
        return [*(await connection.exec_driver_sql(QUESTION)).one()]

def answer(code):
    exec(code, globals())
    if isinstance(engine, AsyncEngine):
        return asyncio.run(ask(engine))
    with engine.connect() as connection:
        return [*connection.exec_driver_sql(QUESTION).one()]

for code in CODES:
    try:
        print(json.dumps(answer(code)))
    except SystemExit as refused:
        print(json.dumps(refused.code))
"""


def answers(configured: Configured, engines: Collection[str]) -> list[Any]:
    """What the connections of these engines lead to, or why they are refused."""
    program = configured.folder / "ask.py"
    program.write_text(f"{HEAD}\nCODES = {[*engines]!r}\n{ASK}")
    done = subprocess.run(
        [sys.executable, str(program)],
        env=environment({"SHOP_URL": configured.url, **redirect.variables(configured.scratch)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_engines_are_led_to_the_scratch_database_and_keep_their_settings(
    configured: Configured,
) -> None:
    found = answers(configured, ENGINES.values())

    there = [configured.scratch.database, "1234ms"]
    assert dict(zip(ENGINES, found, strict=True)) == dict.fromkeys(ENGINES, there)


def test_connections_of_creators_that_lead_elsewhere_are_refused(configured: Configured) -> None:
    found = answers(configured, CREATORS.values())

    assert len(found) == len(CREATORS)
    for reason in found:
        assert isinstance(reason, str)
        assert "'configured'" in reason


# Written down, as nothing in the environment can change it.
HARD_CODED = """
SYNC, ASYNC = {sync!r}, {asynchronous!r}
"""


@pytest.mark.parametrize("name", ["written down", "asyncpg"])
def test_overlap_and_rehearse_leave_the_configured_database_alone(
    configured: Configured, name: str
) -> None:
    urls = {
        "sync": configured.url.replace("postgresql://", "postgresql+psycopg://"),
        "asynchronous": configured.url.replace("postgresql://", "postgresql+asyncpg://"),
    }
    configured.write(HARD_CODED.format(**urls) + ENGINES[name])

    done = configured.overlapped()

    assert done.returncode == 0, done.stderr
    assert configured.made() == "1234ms"
    configured.clear()
    configured.rehearsed()
    assert configured.made() == "1234ms"
    assert configured.tables() == []


@pytest.mark.parametrize("name", ["creator", "async_creator", "again and again"])
def test_a_creator_ends_overlap_and_rehearse_with_one_sentence(
    configured: Configured, name: str
) -> None:
    configured.write(CREATORS[name])

    done = configured.overlapped()

    assert done.returncode == redirect.REFUSED
    [reason] = done.stderr.splitlines()
    assert "'configured'" in reason
    with pytest.raises(ProjectError, match="'configured'") as refused:
        configured.rehearsed()
    assert "\n" not in str(refused.value)
    assert configured.tables() == []


@pytest.mark.parametrize(
    "engine",
    [
        'engine = create_engine(os.environ["DATABASE_URL"])',
        """
url = os.environ["DATABASE_URL"].replace("+psycopg", "")
engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
""",
    ],
    ids=["engine", "creator"],
)
def test_a_program_that_reads_database_url_finds_it_with_the_driver_that_it_uses(
    configured: Configured, engine: str
) -> None:
    (configured.folder / ".env").write_text('DATABASE_URL="postgresql+psycopg://nowhere/none"\n')
    configured.write(engine)

    assert configured.overlapped().returncode == 0
    assert configured.made()


def test_a_database_of_another_kind_is_left_alone(configured: Configured) -> None:
    other = """
for other in (create_engine("sqlite:///:memory:"), create_engine("sqlite:///other.db")):
    with other.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
engine = create_engine(SYNC, connect_args=OPTIONS)
"""
    configured.write(other)

    done = configured.overlapped()

    assert done.returncode == 0, done.stderr
    assert (configured.folder / "other.db").exists()


# ---- Programs that make databases, as tests do

TESTS = """
import os, sys
import psycopg
from sqlalchemy import create_engine, make_url, text

configured, creator = sys.argv[1:]
given = make_url(os.environ["DATABASE_URL"])

def connect(url, statement, **options):
    engine = create_engine(url, isolation_level="AUTOCOMMIT", **options)
    with engine.connect() as connection:
        result = connection.execute(text(statement))
        print(result.scalar() if result.returns_rows else "")
    engine.dispose()

connect(given, "CREATE DATABASE made_by_tests")
connect(given.set(database="made_by_tests"), "SELECT current_database()")
connect(given.set(database="made_by_tests"), "CREATE TABLE made(id int)")
connect(given, "DROP DATABASE made_by_tests")
connect(given.set(database="postgres"), "SELECT current_database()")
connect(configured, "SELECT current_database()")
if creator:
    url = configured.replace("+psycopg", "")
    creator = lambda: psycopg.connect(url)
    connect("postgresql+psycopg://", "CREATE TABLE made(id int)", creator=creator)
"""


@pytest.mark.parametrize("creator", ["", "creator"])
def test_tests_use_databases_that_they_make_and_none_that_was_there(
    configured: Configured, creator: str
) -> None:
    (configured.folder / ".env").write_text("DATABASE_URL=postgresql+psycopg://nowhere/none\n")
    (configured.folder / "program.py").write_text(TESTS)
    url = configured.url.replace("postgresql://", "postgresql+psycopg://")
    foreign = {"configured", "postgres", "template1"}

    done = configured.redirected("program.py", url, creator, foreign=foreign)

    name = configured.scratch.database
    assert configured.tables() == []
    if creator:
        assert done.returncode == redirect.REFUSED
        assert "configured" in done.stderr
    else:
        assert done.stdout.split() == ["made_by_tests", name, name], done.stderr


# ---- Addresses


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("asyncpg", {"ssl": "require", "host": "/run"}),
        ("psycopg", {"sslmode": "require", "host": "/run"}),
        ("", {"sslmode": "require", "host": "/run"}),
    ],
)
def test_a_url_is_spelt_as_its_driver_reads_it(driver: str, expected: Mapping[str, str]) -> None:
    url = parse_url("postgresql://u:p%25@/d?host=/run&sslmode=require")

    found = redirect.for_driver(url, driver)

    assert dict(found.query) == expected
    assert make_url(found.render_as_string(hide_password=False)).password == "p%"
