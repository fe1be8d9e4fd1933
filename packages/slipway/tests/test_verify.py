"""What a look at a database finds that is not as the revisions and the models say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from packages.slipway.tests import commands
from packages.slipway.tests.commands import Answer
from packages.slipway.tests.drivers import matrix
from packages.slipway.tests.history import History
from packages.slipway.tests.modelled import ModelledHistory
from packages.slipway.tests.stock import StockProject

MODELS = """
class Team(Base):
    __tablename__ = "teams"
    __table_args__ = (sa.Index("ix_teams_name", "name"), sa.CheckConstraint("size > 0", "size"))
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(100))
    size: Mapped[int]
"""
TEAMS = """
op.create_table(
    "teams",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("size", sa.Integer(), nullable=False),
)
"""
INDEX = """
with op.get_context().autocommit_block():
    op.create_index("ix_teams_name", "teams", ["name"], postgresql_concurrently=True)
"""
CHECK = 'op.execute("ALTER TABLE teams ADD CONSTRAINT ck_teams_size CHECK (size > 0) NOT VALID")'
VALIDATE = 'op.execute("ALTER TABLE teams VALIDATE CONSTRAINT ck_teams_size")'


STOCK = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table(
    "teams",
    metadata,
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("size", sa.Integer(), nullable=False),
)
"""


@pytest.fixture
def database(server: str) -> Iterator[str]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE verified")
        yield server.replace("/postgres?", "/verified?")
        connection.execute("DROP DATABASE verified WITH (FORCE)")


@pytest.fixture
def history(database: str, tmp_path: Path) -> ModelledHistory:
    """Teams with an index and a check, which is not validated yet."""
    history = ModelledHistory(tmp_path, database)
    history.models(MODELS)
    for code in (TEAMS, INDEX, CHECK):
        history.add(code)
    return history


def verify(history: History, *options: str, user: str = "postgres") -> Answer:
    url = history.url.replace("postgresql://postgres@", f"postgresql+asyncpg://{user}@")
    return commands.slipway(history.folder, "verify", *options, variables={"URL": url})


def found(history: History) -> list[dict[str, Any]]:
    done = verify(history, "--format", "json")
    findings: list[dict[str, Any]] = json.loads(done.printed)["findings"]
    assert done.code == bool(findings), done.errors
    return findings


def places(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(finding["rule"], Path(finding["file"]).name) for finding in findings]


@pytest.mark.representative
def test_nothing_is_found_where_all_is_as_the_revisions_say(history: ModelledHistory) -> None:
    history.upgrade()

    assert found(history) == []


def test_what_is_not_applied_is_named_and_nothing_is_made(history: ModelledHistory) -> None:
    assert places(found(history)) == [
        ("not-at-head", "0001.py"),
        ("not-at-head", "0002.py"),
        ("not-at-head", "0003.py"),
    ]
    assert history.sql("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


@pytest.mark.slow
def test_a_database_that_is_ahead_is_one_finding(history: ModelledHistory) -> None:
    history.add("pass")
    history.upgrade()
    history.forget("0004")

    [finding] = found(history)

    assert finding["rule"] == "not-at-head"
    assert "0004" in finding["message"]


@pytest.mark.representative
def test_an_invalid_index_is_found_where_it_was_made(history: ModelledHistory) -> None:
    history.upgrade()
    history.sql("INSERT INTO teams (name, size) VALUES ('a', 1), ('a', 1)")
    history.sql("DROP INDEX ix_teams_name")
    with pytest.raises(psycopg.errors.UniqueViolation):
        history.sql("CREATE UNIQUE INDEX CONCURRENTLY ix_teams_name ON teams (name)")

    finding = next(f for f in found(history) if f["rule"] == "invalid-index")

    code = (history.folder / finding["file"]).read_text().splitlines()
    assert "create_index" in code[finding["line"] - 1]
    assert "ix_teams_name" in finding["message"]


@pytest.mark.slow
def test_what_a_later_revision_validates_must_be_valid(history: ModelledHistory) -> None:
    history.upgrade()
    history.add(VALIDATE)
    history.alembic("stamp", "0004")

    assert places(found(history)) == [("not-validated", "0004.py")]


@pytest.mark.slow
def test_a_constraint_that_was_validated_is_as_it_should_be(history: ModelledHistory) -> None:
    history.add(VALIDATE)
    history.upgrade()

    assert found(history) == []


@pytest.mark.slow
def test_a_constraint_made_by_hand_is_found(history: ModelledHistory) -> None:
    history.upgrade()
    history.sql("ALTER TABLE teams ADD CONSTRAINT by_hand CHECK (name <> '') NOT VALID")

    messages = {finding["rule"]: finding["message"] for finding in found(history)}

    assert "by_hand" in messages["not-validated"]
    assert "by_hand" in messages["models-disagree"]


@pytest.mark.slow
def test_models_and_schema_must_agree(history: ModelledHistory) -> None:
    history.upgrade()
    history.sql(
        "ALTER TABLE teams DROP COLUMN size, ADD COLUMN more int, ALTER COLUMN name TYPE text;"
        "DROP INDEX ix_teams_name; CREATE TABLE by_hand (id int)"
    )

    messages = [f["message"] for f in found(history) if f["rule"] == "models-disagree"]

    for code in ("add_column", "drop_column", "alter_column", "create_index", "drop_table"):
        assert any(f"op.{code}(" in message for message in messages), messages


def test_a_check_has_the_condition_of_the_models(history: ModelledHistory) -> None:
    history.upgrade()
    history.sql("ALTER TABLE teams DROP CONSTRAINT ck_teams_size")
    history.sql("ALTER TABLE teams ADD CONSTRAINT ck_teams_size CHECK (size > 10) NOT VALID")

    messages = [f["message"] for f in found(history) if f["rule"] == "models-disagree"]

    assert messages
    assert all("ck_teams_size" in message or "size > 10" in message for message in messages)


def test_it_may_run_as_a_user_who_may_only_read(history: ModelledHistory) -> None:
    history.upgrade()
    history.sql("DROP ROLE IF EXISTS reader")
    history.sql("CREATE ROLE reader LOGIN")
    history.sql("GRANT SELECT ON alembic_version TO reader")
    history.sql("REVOKE TEMPORARY ON DATABASE verified FROM PUBLIC")

    done = verify(history, user="reader")

    assert done.code == 0, done.printed + done.errors


@pytest.mark.slow
def test_it_runs_beside_somebody_who_holds_every_lock_that_requests_allow(
    history: ModelledHistory,
) -> None:
    history.upgrade()

    with history.transaction("LOCK TABLE teams IN EXCLUSIVE MODE"):
        assert found(history) == []


@pytest.mark.slow
def test_without_a_server_it_is_one_line_and_no_finding(history: ModelledHistory) -> None:
    done = verify(history, user="nobody_of_this_name")

    assert done.code == 3
    [line] = [line for line in done.errors.splitlines() if not line.startswith("INFO")]
    assert "nobody_of_this_name" in line


# ---- Projects that `alembic init` made


@matrix(fast=[("psycopg2", "alembic.ini"), ("asyncpg", "pyproject.toml")])
def test_a_stock_project_is_verified_with_its_own_env_py(
    database: str, tmp_path: Path, driver: str, file: str
) -> None:
    shop = StockProject(tmp_path, database, driver, file, STOCK)
    shop.add(TEAMS)

    assert places(found(shop)) == [("not-at-head", "0001.py")]
    assert shop.sql("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    shop.upgrade()
    # As a backfill leaves it, and no model has it.
    shop.sql("CREATE TABLE backfill_progress (name text PRIMARY KEY, saved_at timestamptz)")
    assert found(shop) == []
    shop.sql("ALTER TABLE teams DROP COLUMN size")
    assert places(found(shop)) == [("models-disagree", "0001.py")]


@pytest.mark.slow
def test_each_of_several_metadata_is_compared(database: str, tmp_path: Path) -> None:
    more = 'other = sa.MetaData()\nsa.Table("b", other, sa.Column("id", sa.Integer()))\n'
    models = f"{STOCK}{more}metadata = [metadata, other]\n"
    shop = StockProject(tmp_path, database, models=models)
    shop.add(f'{TEAMS}\nop.create_table("b", sa.Column("id", sa.Integer()))')
    shop.upgrade()

    assert found(shop) == []
    shop.sql("ALTER TABLE b DROP COLUMN id")
    shop.sql("ALTER TABLE teams DROP COLUMN size")

    messages = " ".join(finding["message"] for finding in found(shop))
    assert "'b'" in messages
    assert "'teams'" in messages


@pytest.mark.slow
def test_the_version_table_may_have_any_name_and_schema(database: str, tmp_path: Path) -> None:
    shop = StockProject(tmp_path, database, models=STOCK)
    shop.add(TEAMS)
    env = tmp_path / "migrations/env.py"
    table = 'target_metadata=target_metadata, version_table="v", version_table_schema="ops"'
    env.write_text(env.read_text().replace("target_metadata=target_metadata", table))
    shop.sql("CREATE SCHEMA ops")

    assert places(found(shop)) == [("not-at-head", "0001.py")]
    shop.upgrade()
    assert shop.sql("SELECT * FROM ops.v") == [("0001",)]
    assert found(shop) == []


@pytest.mark.slow
def test_an_env_py_without_models_is_one_line(database: str, tmp_path: Path) -> None:
    shop = StockProject(tmp_path, database)
    shop.add("pass")
    shop.upgrade()

    done = verify(shop)

    assert done.code == 3
    assert "target_metadata" in done.errors.splitlines()[-1]
