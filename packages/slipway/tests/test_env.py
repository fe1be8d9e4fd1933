"""`slipway.env`: the short env.py with each driver, and what an env.py of its own gets."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, make_url

from packages.slipway.tests.drivers import DRIVERS, Project, each_driver, matrix
from packages.slipway.tests.history import History
from packages.slipway.tests.processes import environment, free_port, until
from packages.slipway.tests.rows import ROOT
from packages.slipway.tests.runner.test_run import COLUMN, END_THE_SLEEP, SLEEPING, TABLE, add_slow
from slipway.heads import read_applied
from slipway.runner.policy import Policy, merged

Made = Callable[..., Project]


@pytest.fixture
def project(history: History) -> Made:
    def made(driver: str = "psycopg", file: str = "alembic.ini", arguments: str = "") -> Project:
        return Project(history.folder, history.url, driver, file, arguments)

    return made


def assert_one_line(code: int, printed: str, *words: str) -> None:
    """Nothing but logs and one line of error."""
    assert code == 1, printed
    lines = [line for line in printed.splitlines() if not line.startswith(("INFO", "DEBUG"))]
    assert len(lines) == 1, printed
    for word in words:
        assert word in lines[0]


# ---- Each driver


@matrix(fast=[("psycopg", "alembic.ini"), ("asyncpg", "pyproject.toml")])
def test_the_commands_of_alembic(project: Made, driver: str, file: str) -> None:
    shop = project(driver, file)
    shop.add(TABLE, 'op.execute("DROP TABLE items")')
    shop.add('create_index_concurrently("ix_items_name", "items", ["name"])', "pass")

    code, printed = shop.run(["upgrade", "head"], ["current"], ["downgrade", "0001"])

    assert code == 0, printed
    assert re.search(r"Applied 0001 in \d", printed)
    assert "Reverted 0002" in printed
    assert shop.at() == ["0001"]
    code, printed = shop.run(["stamp", "head"], ["upgrade", "head"], ["upgrade", "head", "--sql"])
    assert code == 0, printed
    assert "CREATE TABLE items" in printed
    assert shop.at() == ["0002"]


@each_driver(fast=["psycopg"])
def test_five_runners_at_once_apply_each_revision_once(
    project: Made, driver: str, file: str
) -> None:
    shop = project(driver, file)
    shop.add('op.execute("CREATE TABLE items (id int, name text)")')
    shop.add("op.execute(\"INSERT INTO items SELECT 1, 'once' FROM pg_sleep(1)\")")
    shop.add('create_index_concurrently("ix_items_id", "items", ["id"])')

    runners = [shop.start() for _ in range(5)]
    printed = [runner.communicate(timeout=120)[0] for runner in runners]

    assert [runner.returncode for runner in runners] == [0] * 5, printed
    assert shop.sql("SELECT * FROM items") == [(1, "once")]
    assert shop.at() == ["0003"]
    assert sum("Applied 0002" in text for text in printed) == 1


@each_driver(fast=["psycopg"])
def test_who_holds_the_lock_at_every_attempt_is_named(
    project: Made, driver: str, file: str
) -> None:
    shop = project(driver, file)
    shop.add(TABLE)
    shop.upgrade()
    shop.add(COLUMN)

    with shop.transaction("SELECT name FROM items"):
        [(pid,)] = shop.sql("SELECT pid FROM pg_stat_activity WHERE state ~ 'idle in'")
        code, printed = shop.alembic(LOCK_TIMEOUT="0.7", ATTEMPTS="2")

    assert code == 1
    assert "Attempt 1 of 2" in printed
    assert "Traceback" not in printed
    assert re.search(rf"pid {pid}, for \d+ s, idle in transaction: SELECT name", printed)
    assert shop.at() == ["0001"]
    shop.upgrade()


@each_driver(fast=["psycopg"])
def test_a_server_that_is_away_is_one_line(project: Made, driver: str, file: str) -> None:
    shop = project(driver, file)
    shop.add(TABLE)
    nowhere = f"postgresql+{driver}://ada:secret@127.0.0.1:{free_port()}/shop"

    code, printed = shop.alembic("-x", f"url={nowhere}", "upgrade", "head")

    assert_one_line(code, printed, "Cannot connect to", "127.0.0.1")
    assert "secret" not in printed


@each_driver(fast=["psycopg2"])
def test_ctrl_c_ends_a_statement_with_130(project: Made, driver: str, file: str) -> None:
    shop = project(driver, file)
    shop.add(TABLE)
    shop.add('op.execute("SELECT pg_sleep(600)")')
    runner = shop.start()
    until(lambda: shop.sql(SLEEPING))

    runner.send_signal(signal.SIGINT)
    printed, _ = runner.communicate(timeout=20)

    assert runner.returncode == 130, printed
    assert "Traceback" not in printed
    assert shop.at() == ["0001"]
    until(lambda: not shop.sql(SLEEPING))


@each_driver()
def test_a_connection_that_is_lost_is_one_line_and_the_next_run_continues(
    project: Made, driver: str, file: str
) -> None:
    shop = project(driver, file)
    shop.add(TABLE)
    add_slow(shop)
    runner = shop.start()
    until(lambda: shop.sql(SLEEPING))

    shop.sql(END_THE_SLEEP)
    printed, _ = runner.communicate(timeout=60)

    assert runner.returncode == 1
    assert "Traceback" not in printed, printed
    assert shop.at() == ["0001"]
    shop.sql("DELETE FROM slow")
    shop.upgrade()
    assert shop.at() == ["0002"]


PASSWORD = "100 % of p@ss:word/"


@each_driver(fast=["psycopg"])
def test_a_password_with_special_characters(
    server: str, project: Made, driver: str, file: str
) -> None:
    """The server asks for it, so that one that is misread is refused."""
    shop = project(driver, file)
    [(rules,)] = shop.sql("SHOW hba_file")
    path = Path(str(rules))
    before = path.read_text()
    shop.sql(f"CREATE ROLE ada LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    encoded = "100 %25 of p%40ss%3Aword%2F"
    try:
        path.write_text(f"local all ada scram-sha-256\n{before}")
        shop.sql("SELECT pg_reload_conf()")
        as_ada = replace(shop, url=shop.url.replace("postgres@", f"ada:{encoded}@"))
        as_ada.add(TABLE)

        code, printed = as_ada.alembic()

        assert code == 0, printed
        assert shop.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'items'") == [("ada",)]
    finally:
        path.write_text(before)
        shop.sql("SELECT pg_reload_conf()")
        shop.sql("DROP OWNED BY ada; DROP ROLE ada")


@each_driver(fast=["psycopg"])
def test_settings_of_the_project_stay_beside_those_of_the_policy(
    project: Made, driver: str, file: str
) -> None:
    asyncpg = "connect_args={'server_settings': {'search_path': 'shop'}}"
    libpq = "connect_args={'options': '-c search_path=shop'}"
    shop = project(driver, file, asyncpg if driver == "asyncpg" else libpq)
    shown = "current_setting('search_path') AS path, current_setting('lock_timeout') AS timeout"
    shop.add(f'op.execute("CREATE TABLE public.shown AS SELECT {shown}")')
    shop.sql("CREATE SCHEMA shop")

    shop.upgrade(LOCK_TIMEOUT="0.7")

    assert shop.sql("SELECT * FROM public.shown") == [("shop", "700ms")]


@pytest.mark.slow
def test_options_of_the_url_stay(project: Made) -> None:
    shop = project()
    shop.add("op.execute(\"CREATE TABLE public.shown AS SELECT current_setting('search_path')\")")
    shop.sql("CREATE SCHEMA shop")
    options = replace(shop, url=f"{shop.url}&options=-csearch_path%3Dshop")

    code, printed = shop.alembic("-x", f"url={options._url}", "upgrade", "head")

    assert code == 0, printed
    assert shop.sql("SELECT * FROM public.shown") == [("shop",)]


# ---- Where Alembic's options lead


SCHEMA = 'version_table="Applied", version_table_schema="of shop"'


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_version_table_of_any_name(project: Made, driver: str) -> None:
    shop = project(driver, arguments=SCHEMA)
    shop.add(TABLE)
    shop.sql('CREATE SCHEMA "of shop"')
    shop.upgrade()
    ahead = shop.add(COLUMN)
    shop.upgrade()
    shop.forget(ahead)

    assert "ahead of this code" in shop.upgrade()
    url = make_url(shop.url).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        applied = read_applied(connection, "Applied", "of shop")
    assert applied.heads == {"0002"}
    assert applied.history == {"0001", "0002"}
    assert shop.sql("SELECT to_regclass('alembic_version')") == [(None,)]


TWO = """
import sqlalchemy as sa
from slipway.env import configure_logging, run

first, second = sa.MetaData(), sa.MetaData()
sa.Table("orders", first, sa.Column("id", sa.Integer, primary_key=True))
sa.Table("parcels", second, sa.Column("id", sa.Integer, primary_key=True), schema="depot")

configure_logging()
run([first, second])
"""


def test_a_list_of_metadata(project: Made) -> None:
    shop = project()
    shop.add("pass")
    (shop.folder / "migrations/env.py").write_text(TWO)
    (shop.folder / "migrations/script.py.mako").write_text(
        (ROOT / "template/src/migrations/script.py.mako").read_text()
    )
    shop.sql("CREATE SCHEMA depot")

    code, printed = shop.run(
        ["upgrade", "head"],
        ["revision", "--autogenerate", "-m", "both"],
        ["upgrade", "head"],
        ["check"],
    )

    assert code == 0, printed
    names = [("orders",), ("parcels",)]
    tables = "SELECT relname FROM pg_class WHERE relname IN ('orders', 'parcels') ORDER BY 1"
    assert shop.sql(tables.replace("WHERE", "WHERE relkind = 'r' AND")) == names


@pytest.mark.slow
def test_what_configure_gets_can_be_replaced(project: Made) -> None:
    shop = project(arguments="on_version_apply=[lambda **_: print('called back')]")
    shop.add(TABLE)

    assert "called back" in shop.upgrade()


# ---- The URL


def test_the_url_of_the_command_line_comes_first(project: Made) -> None:
    shop = project(arguments="url='postgresql+psycopg://nobody@127.0.0.1:1/nothing'")
    shop.add(TABLE)

    code, printed = shop.alembic("-x", f"url={shop._url}", "upgrade", "head")

    assert code == 0, printed


UNUSABLE = {
    "missing": ("", "sqlalchemy.url"),
    "placeholder": ("driver://user:pass@localhost/dbname", "psycopg"),
    "another database": ("mysql+pymysql://localhost/shop", "postgresql+"),
    "another driver": ("postgresql+pg8000://localhost/shop", "psycopg"),
    "old scheme": ("postgres://localhost/shop", "postgresql"),
    "no URL": ("host=localhost dbname=shop", "postgresql+psycopg://"),
    "no port": ("postgresql+psycopg://localhost:port/shop", "postgresql+psycopg://"),
    "lone %": ("postgresql+psycopg://ada:100%@localhost/shop", "%%"),
}


@pytest.mark.parametrize("file", ["alembic.ini", "pyproject.toml"])
@pytest.mark.parametrize("case", UNUSABLE)
def test_a_url_that_is_missing_or_unusable_is_one_sentence(
    project: Made, file: str, case: str
) -> None:
    shop = project("psycopg", file)
    shop.add(TABLE)
    url, word = UNUSABLE[case]
    path = shop.folder / file
    path.write_text(path.read_text().replace(shop._url.replace("%", "%%"), url))

    assert_one_line(*shop.alembic(), word)


def test_a_url_as_a_dotted_key_of_toml(project: Made) -> None:
    shop = project("psycopg", "pyproject.toml")
    shop.add(TABLE)
    path = shop.folder / "pyproject.toml"
    path.write_text(path.read_text().replace('"sqlalchemy.url"', "sqlalchemy.url"))

    shop.upgrade()


@pytest.mark.parametrize("module", ["psycopg", "asyncpg", "psycopg2", "greenlet"])
def test_a_driver_that_is_not_installed_is_one_sentence(project: Made, module: str) -> None:
    shop = project("asyncpg" if module == "greenlet" else module)
    shop.add(TABLE)
    env = shop.folder / "migrations/env.py"
    env.write_text(f"import sys\nsys.modules['{module}'] = None\n{env.read_text()}")
    code, printed = shop.start().communicate(timeout=60)[0], ""

    assert_one_line(1, str(code), module)
    assert not printed


def test_sql_is_printed_without_any_url(project: Made) -> None:
    shop = project()
    shop.add(TABLE)
    path = shop.folder / "alembic.ini"
    path.write_text(path.read_text().replace("sqlalchemy.url", "; sqlalchemy.url"))

    code, printed = shop.alembic("upgrade", "head", "--sql")

    assert code == 0, printed
    assert "CREATE TABLE items" in printed


# ---- Programs that call Alembic


PROGRAM = """
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text, Connection

config = Config("alembic.ini")

def upgrade(connection: Connection) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    assert connection.in_transaction()
    assert connection.scalar(text("SELECT count(*) FROM items")) == 0
"""
SYNC = f"""
{PROGRAM}
with create_engine("{{url}}").connect() as connection, connection.begin() as transaction:
    upgrade(connection)
    transaction.rollback()
"""
ASYNC = f"""
{PROGRAM}
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine

async def main() -> None:
    async with create_async_engine("{{url}}").connect() as connection:
        async with connection.begin() as transaction:
            await connection.run_sync(upgrade)
            await transaction.rollback()

asyncio.run(main())
"""


def python(project: Project, code: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.folder,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_of_a_program_keeps_its_transaction(project: Made, driver: str) -> None:
    shop = project(driver)
    shop.add(TABLE)
    code = ASYNC if driver in {"asyncpg", "psycopg_async"} else SYNC

    status, printed = python(shop, code.format(url=shop._url))

    assert status == 0, printed
    assert shop.sql("SELECT to_regclass('items'), to_regclass('alembic_version')") == [(None, None)]


def test_a_revision_that_commits_is_refused_in_the_transaction_of_a_program(
    project: Made,
) -> None:
    shop = project()
    shop.add('create_index_concurrently("ix", "items", ["name"])')

    status, printed = python(shop, SYNC.format(url=shop._url))

    assert status == 1
    assert printed.splitlines()[-1].startswith("alembic.util.exc.CommandError: This revision")


CATCHES = """
from alembic import command
from alembic.config import Config
from slipway.env import MigrationError

try:
    command.upgrade(Config("alembic.ini"), "head")
except MigrationError as error:
    print("caught", error)
"""


def test_a_program_can_catch_the_error(project: Made) -> None:
    shop = project()
    shop.add('op.execute("SELECT * FROM nowhere")')

    status, printed = python(shop, CATCHES)

    assert status == 0, printed
    assert re.search(r"(?m)^caught 0001\.py, line \d+: .*nowhere", printed)


IN_A_LOOP = """
import asyncio
from alembic import command
from alembic.config import Config

async def main() -> None:
    command.upgrade(Config("alembic.ini"), "head")

asyncio.run(main())
"""


def test_a_program_with_a_loop_of_its_own_learns_what_to_do(project: Made) -> None:
    shop = project("asyncpg")
    shop.add(TABLE)

    status, printed = python(shop, IN_A_LOOP)

    assert status == 1
    assert "asyncio.to_thread" in printed.splitlines()[-1]
    assert "never awaited" not in printed


# ---- An env.py with an engine of its own


OWN = """
from alembic import context
from slipway.env import Policy, command_line_errors, configure_options, connect, run_migrations
from sqlalchemy import create_engine, pool

policy = Policy()
engine = create_engine("{url}", poolclass=pool.NullPool{arguments})

with command_line_errors(), connect(engine) as connection:
    context.configure(connection=connection, **configure_options(None))
    run_migrations(policy)
"""


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_an_engine_of_the_project_s_own(project: Made, driver: str) -> None:
    shop = project(driver)
    shop.add(TABLE)
    env = shop.folder / "migrations/env.py"
    env.write_text(OWN.format(url=shop._url, arguments=""))

    code, printed = shop.alembic()

    assert_one_line(code, printed, f'connect_args=policy.connect_args("{driver}")')
    assert "pooler" not in printed

    arguments = f', connect_args=policy.connect_args("{driver}")'
    env.write_text(OWN.format(url=shop._url, arguments=arguments))
    shop.upgrade()
    assert shop.at() == ["0001"]


def test_a_single_connection_in_the_pool_is_enough(project: Made) -> None:
    """Who blocks is looked up on a connection that the pool does not have."""
    shop = project()
    shop.add(TABLE)
    arguments = ', connect_args=policy.connect_args("psycopg"), pool_size=1, max_overflow=0'
    env = OWN.replace(", poolclass=pool.NullPool", "").replace("Policy()", "Policy(attempts=2)")
    (shop.folder / "migrations/env.py").write_text(env.format(url=shop._url, arguments=arguments))
    shop.upgrade()
    shop.add(COLUMN)

    with shop.transaction("SELECT name FROM items"):
        code, printed = shop.alembic()

    assert code == 1
    assert "idle in transaction: SELECT name" in printed


def test_a_server_that_is_too_old_is_one_sentence(project: Made) -> None:
    oldest = 99
    shop = project()
    shop.add(TABLE)
    env = shop.folder / "migrations/env.py"
    older = f"import slipway.runner.connection as c\nc.OLDEST_SERVER = {oldest}\n"
    env.write_text(older + env.read_text())

    assert_one_line(*shop.alembic(), f"PostgreSQL {oldest}")


DOCUMENTED = """
[tool.slipway]
documentation = "https://example.com/migrations"
"""


@pytest.mark.parametrize("documented", [DOCUMENTED, ""])
def test_a_hint_refers_to_the_documentation_where_there_is_one(
    project: Made, documented: str
) -> None:
    shop = project("psycopg", "pyproject.toml")
    shop.sql("CREATE TABLE items (name text)")
    shop.sql("INSERT INTO items VALUES (NULL)")
    shop.add('refuse_nulls("items", "name")')
    path = shop.folder / "pyproject.toml"
    path.write_text(path.read_text() + documented)

    _, printed = shop.alembic()

    assert "update_in_batches" in printed
    assert ("https://" in printed) is bool(documented)


# ---- Logging


def test_loggers_that_exist_are_not_disabled(project: Made) -> None:
    shop = project()
    shop.add(TABLE)
    env = shop.folder / "migrations/env.py"
    env.write_text(f"import logging\nlog = logging.getLogger('shop')\n{env.read_text()}\n")
    env.write_text(f"{env.read_text()}log.warning('still heard')\n")

    printed = shop.upgrade()

    assert "still heard" in printed
    assert "INFO [alembic.slipway.runner.progress] Applied 0001" in printed


# ---- The policy


def test_parameters_of_the_project_come_beside_those_of_the_policy() -> None:
    policy = Policy(lock_timeout=2)
    asyncpg = merged(
        policy.connect_args("asyncpg"),
        {"server_settings": {"application_name": "shop", "lock_timeout": "0"}, "ssl": "require"},
    )
    assert asyncpg["ssl"] == "require"
    assert asyncpg["server_settings"]["application_name"] == "shop"
    assert asyncpg["server_settings"]["lock_timeout"] == "2000ms"

    libpq = merged(policy.connect_args("psycopg2"), {"options": "-c a=1"}, {"sslmode": "require"})
    assert libpq["options"].startswith("-c a=1 -c lock_timeout=2000ms")
    assert libpq["sslmode"] == "require"
    assert libpq["keepalives_idle"] == 30


def test_a_driver_that_is_not_supported_is_refused() -> None:
    with pytest.raises(ValueError, match="pg8000"):
        Policy().connect_args("pg8000")


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"lock_timeout": -1}])
def test_a_policy_that_could_do_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Policy(**wrong)


def test_the_variable_of_libpq_holds_beside_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=shop")
    options = Policy().connect_args("psycopg")["options"]
    assert options.startswith("-c search_path=shop -c lock_timeout=")


def test_the_server_gives_the_lock_of_a_lost_runner_free(server: str) -> None:
    """Keepalive is for both ends: libpq's for the client, the others for the server."""
    arguments = Policy().connect_args("psycopg")
    with psycopg.connect(server, **arguments) as connection:
        assert connection.info.get_parameters()["keepalives_idle"] == "30"
        assert "tcp_keepalives_idle=30" in connection.info.get_parameters()["options"]
    assert os.environ.get("PGOPTIONS") is None
