"""Commands that must not write leave the configured database as it was."""

import subprocess
from collections.abc import Sequence

import pytest

from packages.slipway.tests import commands
from packages.slipway.tests.drivers import each_driver
from packages.slipway.tests.history import History
from packages.slipway.tests.stock import StockProject
from slipway.devdb.server import find_binaries

MODELS = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table(
    "teams",
    metadata,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("size", sa.Integer(), server_default=sa.text("1 + 1")),
    sa.Column("kind", sa.Enum("new", "old", name="kind")),
    sa.CheckConstraint("size > 0", name="size"),
)
"""
TEAMS = """
op.execute("CREATE TYPE kind AS ENUM ('new', 'old')")
op.execute(
    "CREATE TABLE teams (id serial PRIMARY KEY, size int DEFAULT 1 + 1, kind kind,"
    " CONSTRAINT size CHECK (size > 0))"
)
"""
BACKFILL = """
from slipway.backfill import Backfill
backfill = Backfill("teams", "kind = 'new'", where="kind IS NULL")
"""
READING = [
    ("slipway", "verify"),
    ("slipway", "backfill"),
    ("slipway", "backfill", "fill", "--dry-run"),
    ("alembic", "current", "--verbose"),
    ("alembic", "history", "--indicate-current"),
    ("alembic", "check"),
    ("alembic", "upgrade", "base:head", "--sql"),
    ("alembic", "revision", "--autogenerate", "-m", "more"),
]
# For what does not depend on the driver.
ONE = pytest.mark.parametrize(("driver", "file"), [("psycopg", "alembic.ini")])


@pytest.fixture
def shop(history: History, driver: str, file: str) -> StockProject:
    project = StockProject(history.folder, history.url, driver, file, MODELS)
    project.configure()
    project.adopt()
    folder = project.folder / "migrations/backfills"
    folder.mkdir()
    (folder / "fill.py").write_text(BACKFILL)
    return project


def dump(project: StockProject) -> str:
    """All that is in the database, states of sequences and comments included."""
    binaries = find_binaries()
    assert binaries
    done = subprocess.run(
        [binaries / "pg_dump", project.url], capture_output=True, text=True, check=True
    )
    # psql's \restrict has another random key each time.
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("\\"))


def run(project: StockProject, program: str, *arguments: str) -> tuple[int, str]:
    if program == "alembic":
        return project.alembic(*arguments)
    answer = commands.slipway(project.folder, *arguments, variables={})
    return answer.code, answer.printed + answer.errors


def run_all(project: StockProject, expected: Sequence[int]) -> None:
    """Run each command that reads; none may change the database."""
    before = dump(project)
    for command, code in zip(READING, expected, strict=True):
        found, printed = run(project, *command)
        assert found == code, (command, printed)
        assert "Traceback" not in printed, (command, printed)
        assert dump(project) == before, command


@each_driver(fast=["psycopg"])
def test_a_database_at_head_is_left_as_it_was(shop: StockProject) -> None:
    shop.add(TEAMS)
    shop.upgrade()
    shop.sql("INSERT INTO teams SELECT FROM generate_series(1, 10)")

    run_all(shop, [0, 0, 0, 0, 0, 0, 0, 0])
    # What autogenerate tries on the server, it takes back.
    models = MODELS.replace('"old"', '"old", "older"').replace("size > 0", "size > 1")
    (shop.folder / "shop.py").write_text(models)
    run_all(shop, [1, 0, 0, 0, 0, 255, 0, 0])


@ONE
def test_a_database_before_its_first_migration_is_left_as_it_was(shop: StockProject) -> None:
    shop.add(TEAMS)

    run_all(shop, [1, 0, 3, 0, 0, 1, 0, 1])


@ONE
def test_a_project_before_its_first_revision_leaves_the_database_as_it_was(
    shop: StockProject,
) -> None:
    run_all(shop, [3, 0, 3, 0, 0, 255, 0, 0])
