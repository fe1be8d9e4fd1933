"""Commands that must not write leave the configured database as it was."""

import subprocess
from collections.abc import Mapping

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
# With their exit codes where the models and the database agree.
READING = {
    "slipway verify": 0,
    "slipway backfill": 0,
    "slipway backfill fill --dry-run": 0,
    "alembic current --verbose": 0,
    "alembic history --indicate-current": 0,
    "alembic check": 0,
    "alembic upgrade base:head --sql": 0,
    "alembic revision --autogenerate -m more": 0,
}
CHANGED = {
    "slipway verify": 1,
    "alembic check": 255,
    "alembic revision --autogenerate -m more": 0,
}
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


def run(project: StockProject, command: str) -> tuple[int, str]:
    program, *arguments = command.split()
    if program == "alembic":
        return project.alembic(*arguments)
    answer = commands.slipway(project.folder, *arguments, variables={})
    return answer.code, answer.printed + answer.errors


def run_all(project: StockProject, expected: Mapping[str, int]) -> None:
    """Run commands that end with these codes; none may change the database."""
    before = dump(project)
    for command, code in expected.items():
        found, printed = run(project, command)
        assert found == code, (command, printed)
        assert "Traceback" not in printed, (command, printed)
        assert dump(project) == before, command


@each_driver()
def test_a_database_at_head_is_left_as_it_was(shop: StockProject) -> None:
    shop.add(TEAMS)
    shop.upgrade()
    shop.sql("INSERT INTO teams SELECT FROM generate_series(1, 10)")

    run_all(shop, READING)
    # What autogenerate tries on the server, it takes back.
    models = MODELS.replace('"old"', '"old", "older"').replace("size > 0", "size > 1")
    (shop.folder / "shop.py").write_text(models)
    run_all(shop, CHANGED)


@ONE
def test_a_database_before_its_first_migration_is_left_as_it_was(shop: StockProject) -> None:
    shop.add(TEAMS)

    refused = {"alembic check": 1, "alembic revision --autogenerate -m more": 1}
    run_all(shop, READING | refused | {"slipway verify": 1, "slipway backfill fill --dry-run": 3})


@pytest.mark.slow
@ONE
def test_a_project_before_its_first_revision_leaves_the_database_as_it_was(
    shop: StockProject,
) -> None:
    run_all(
        shop,
        READING | {"slipway verify": 3, "slipway backfill fill --dry-run": 3, "alembic check": 255},
    )
