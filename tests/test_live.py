"""Projects that are installed and run, on the PostgreSQL that they bring."""

import json
from pathlib import Path

import httpx2
import pytest

from packages.slipway.tests.processes import one_line, run, until
from slipway.runner.advisory_lock import LOCK_KEY
from tests.conftest import Render
from tests.project import Project, status

TEAM = """
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.base import Base
from app.core.db.mixins import Timestamps, UUIDPrimaryKey


class Team(UUIDPrimaryKey, Timestamps, Base):
    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(unique=True)
"""

DIARY = """
import enum

from sqlalchemy import ARRAY, Enum
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.base import Base
from app.core.db.mixins import UUIDPrimaryKey


class Mood(enum.Enum):
    SAD = "sad"
    OK = "it's ok"


class Diary(UUIDPrimaryKey, Base):
    __tablename__ = "diaries"

    mood: Mapped[Mood]
    earlier: Mapped[list[Mood]] = mapped_column(ARRAY(Enum(Mood)))
"""

KIND = """
class Kind(enum.Enum):
    PERSON = "person"
    COMPANY = "company"
"""

HOLD_THE_LOCK = f"SELECT pg_advisory_lock({LOCK_KEY}); SELECT pg_sleep(600)"

HERO = """
from uuid import UUID

from sqlmodel import Field, SQLModel


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    user_id: UUID = Field(foreign_key="users.id")
"""


@pytest.mark.slow
def test_dev_serves_the_docs_and_the_example(project: Project) -> None:
    with project.served("just", "dev") as url:
        assert status(f"{url}/docs") == 200
        assert status(f"{url}/health/ready") == 200
        user = {"email": "ada@example.com", "full_name": "Ada"}
        assert httpx2.post(f"{url}/api/v1/users", json=user).status_code == 201
    # The data outlives the server.
    assert project.sql("SELECT email FROM users") == "ada@example.com"


@pytest.mark.slow
def test_a_new_project_passes_its_own_checks(project: Project) -> None:
    project.just("check")


@pytest.mark.slow
def test_a_project_without_the_example_passes_its_own_checks(bare_project: Project) -> None:
    bare_project.just("check")


@pytest.mark.slow
@pytest.mark.parametrize("postgres_version", [17, 16])
def test_ids_for_an_older_postgresql_are_made_by_the_service(
    render: Render, postgres_version: int
) -> None:
    project = Project(render(postgres_version=postgres_version))

    project.just("check")

    project.just("migrate-up")
    assert (
        project.sql(
            "SELECT column_default FROM information_schema.columns "
            "WHERE table_name = 'users' AND column_name = 'id'"
        )
        == ""
    )


@pytest.mark.slow
def test_a_change_of_the_models_becomes_a_migration(project: Project) -> None:
    project.just("migrate-up")
    project.write("src/app/models/team.py", TEAM)

    project.just("migrate-gen", "add teams")
    project.just("migrate-up")
    assert project.sql("SELECT count(*) FROM teams") == "0"
    project.just("migrate-check")
    project.just("migrate-down")
    assert project.sql("SELECT to_regclass('teams')") == ""
    project.just("migrate-up")
    before = project.revisions()
    done = project.just("migrate-gen", "nothing")
    assert project.revisions() == before
    assert "no file was written" in done.stdout
    project.uv_run("ruff", "check", "src/migrations")
    project.uv_run("ruff", "format", "--check", "src/migrations")


@pytest.mark.slow
def test_what_a_change_would_break_is_said_when_it_is_written(project: Project) -> None:
    project.just("migrate-up")
    project.edit(
        "src/app/models/user.py", "    full_name:", "    country: Mapped[str]\n    full_name:"
    )

    done = project.just("migrate-gen", "add country")

    assert "required-column" in done.stdout
    assert len(project.revisions()) == 2


@pytest.mark.slow
def test_a_bare_project_begins_its_history_with_the_first_model(bare_project: Project) -> None:
    bare_project.just("migrate-up")
    bare_project.just("migrate-check")
    bare_project.write("src/app/models/team.py", TEAM)
    bare_project.just("migrate-gen", "add teams")
    bare_project.just("test")

    [revision] = bare_project.revisions()
    assert revision.name.endswith("_add_teams.py")
    bare_project.uv_run("ruff", "format", "--check")


@pytest.mark.slow
def test_enum_types_come_and_go_with_the_columns_that_have_them(project: Project) -> None:
    project.just("migrate-up")
    project.write("src/app/models/diary.py", DIARY)
    project.edit("src/app/models/user.py", "class User(", f"{KIND}\n\nclass User(")
    project.edit(
        "src/app/models/user.py", "    full_name:", "    kind: Mapped[Kind | None]\n    full_name:"
    )
    project.edit(
        "src/app/models/user.py", "from sqlalchemy import", "import enum\n\nfrom sqlalchemy import"
    )

    project.just("migrate-gen", "add moods")
    project.just("migrate-up")
    assert (
        project.sql(
            "SELECT string_agg(typname, ' ' ORDER BY typname) FROM pg_type WHERE typtype = 'e'"
        )
        == "kind mood poststatus"
    )
    project.just("migrate-check")
    project.just("test", "tests/test_migrations.py")

    project.edit("src/app/models/diary.py", '    OK = "it', '    SO_SO = "so-so"\n    OK = "it')
    assert project.just("migrate-check", check=False).returncode
    project.just("migrate-gen", "more moods")
    for step in ["migrate-up", "migrate-down", "migrate-up", "migrate-check"]:
        project.just(step)
    project.just("test", "tests/test_migrations.py")

    (project.path / "src/app/models/diary.py").unlink()
    project.just("migrate-gen", "remove diaries")
    project.just("migrate-up")
    assert project.sql("SELECT to_regtype('mood')") == ""
    project.just("test", "tests/test_migrations.py")


@pytest.mark.slow
def test_a_message_reaches_alembic_as_it_was_typed(project: Project) -> None:
    message = """--it's "quoted", costs $HOME & ünïcödé; `date`"""

    project.just("migrate-up")
    project.just("migrate-new", message)

    assert project.revisions()[-1].read_text(encoding="utf-8").startswith(f'"""{message}\n')
    assert message in project.just("migrate-history").stdout


@pytest.mark.slow
@pytest.mark.parametrize("message", ["C:\\users \\N{x}", 'thrice \'"""\' quoted'])
def test_a_message_never_breaks_the_history(project: Project, message: str) -> None:
    project.just("migrate-up")
    project.just("migrate-new", message)

    assert message in project.just("migrate-history").stdout


@pytest.mark.slow
def test_sqlmodel_tables_are_tables_like_any_other(project: Project) -> None:
    run("uv", "add", "--quiet", "sqlmodel", cwd=project.path)
    project.just("migrate-up")
    project.write("src/app/models/hero.py", HERO)

    project.just("migrate-gen", "add heroes")
    assert "import sqlmodel" in project.revisions()[-1].read_text()
    project.just("migrate-up")
    project.just("migrate-check")
    project.just("migrate-down")
    project.just("migrate-up")
    project.just("test", "tests/test_migrations.py")
    project.uv_run("ruff", "check")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["dev", "migrate-gen x"])
def test_a_model_that_cannot_be_imported_stops_everything_with_its_name(
    project: Project, command: str
) -> None:
    project.write("src/app/models/broken.py", "import nowhere\n")

    done = project.just(*command.split(), check=False)

    assert done.returncode
    assert "app.models.broken" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["alembic", "upgrade", "head"],
        ["uvicorn", "app.main:app"],
        ["just", "migrate-up"],
        ["just", "dev"],
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(project: Project, command: list[str]) -> None:
    done = project.uv_run(*command, check=False, DATABASE_URL="mysql://app:s3cret@db/app")

    assert done.returncode == 2
    assert "DATABASE_URL" in one_line(done.stderr)
    assert "s3cret" not in done.stdout + done.stderr


def test_without_a_database_url_alembic_says_what_to_do(project: Project) -> None:
    done = project.uv_run("alembic", "upgrade", "head", check=False)

    assert done.returncode == 2
    assert "devdb" in one_line(done.stderr)


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_one_line(project: Project) -> None:
    nowhere = "postgresql://app:s3cret@127.0.0.1:1/app"

    done = project.uv_run("alembic", "upgrade", "head", check=False, DATABASE_URL=nowhere)

    assert done.returncode == 1
    assert "127.0.0.1:1" in one_line(done.stderr)
    assert "s3cret" not in done.stderr


@pytest.mark.slow
def test_any_password_works_for_alembic_and_psql(project: Project) -> None:
    password = "100%/@:é"
    project.sql(f"CREATE ROLE app SUPERUSER LOGIN PASSWORD '{password}'")
    script = (
        'export DATABASE_URL="postgres://app:100%25%2F%40%3A%C3%A9@/app?host=$PGHOST"; '
        "alembic upgrade head && devdb psql -c 'SELECT current_user'"
    )

    done = project.uv_run("devdb", "sh", "-c", script)

    assert "app" in done.stdout
    assert project.sql("SELECT count(*) FROM users") == "0"


@pytest.mark.slow
def test_reset_asks_first_and_gives_an_empty_migrated_database(project: Project) -> None:
    project.just("migrate-up")
    project.sql("INSERT INTO users (email, full_name) VALUES ('a@b.example', 'A')")

    refused = project.just("reset-db", input="n\n", check=False)
    assert refused.returncode
    assert project.sql("SELECT count(*) FROM users") == "1"

    project.just("reset-db", input="y\n")
    assert project.sql("SELECT count(*) FROM users") == "0"


@pytest.mark.slow
def test_nothing_but_a_development_database_is_reset(project: Project) -> None:
    project.just("migrate-up")

    done = project.just("--yes", "reset-db", check=False, ENVIRONMENT="staging")

    assert done.returncode
    assert project.sql("SELECT count(*) FROM users") == "0"


@pytest.mark.slow
def test_a_backup_restores_what_was_lost(project: Project) -> None:
    project.just("migrate-up")
    project.sql("INSERT INTO users (email, full_name) VALUES ('a@b.example', 'A')")

    project.just("db-backup", "before.dump")
    project.sql("DELETE FROM users")
    project.sql("CREATE TABLE later (author uuid REFERENCES users)")
    project.just("db-restore", "before.dump", input="y\n")

    assert project.sql("SELECT email FROM users") == "a@b.example"
    assert project.sql("SELECT to_regclass('later')") == ""


@pytest.mark.slow
def test_what_cannot_be_restored_deletes_nothing(project: Project) -> None:
    project.just("migrate-up")
    project.sql("INSERT INTO users (email, full_name) VALUES ('a@b.example', 'A')")
    project.write("broken.dump", "not a dump")

    for file in ("nowhere.dump", "broken.dump"):
        assert project.just("--yes", "db-restore", file, check=False).returncode

    assert project.sql("SELECT count(*) FROM users") == "1"


@pytest.mark.slow
def test_from_a_sketch_to_migrations(bare_project: Project) -> None:
    """The road that docs/migrations.md describes for data that must stay."""
    bare_project.write("src/app/models/team.py", TEAM)
    with bare_project.served(
        "devdb", "uvicorn", "app.main:app", CREATE_TABLES_ON_START="true", ENVIRONMENT="development"
    ):
        pass
    bare_project.sql("INSERT INTO teams (name) VALUES ('kept')")

    bare_project.sql("CREATE DATABASE empty")
    empty = 'export DATABASE_URL="postgresql://postgres@/empty?host=$PGHOST"; '
    bare_project.uv_run(
        "devdb", "sh", "-c", empty + "just migrate-up && just migrate-gen 'create tables'"
    )
    bare_project.just("migrate-stamp", "head")
    bare_project.just("migrate-check")
    bare_project.just("migrate-up")

    assert bare_project.sql("SELECT name FROM teams") == "kept"
    started = bare_project.uv_run(
        "devdb",
        "uvicorn",
        "app.main:app",
        check=False,
        CREATE_TABLES_ON_START="true",
        ENVIRONMENT="development",
    )
    assert started.returncode
    assert "Traceback" not in started.stderr
    assert "under migrations" in started.stderr


@pytest.mark.slow
def test_tests_refuse_a_database_that_holds_tables(project: Project) -> None:
    project.just("migrate-up")

    done = project.uv_run("devdb", "pytest", check=False)

    assert done.returncode == 2
    assert "holds tables" in done.stdout + done.stderr


@pytest.mark.slow
def test_tests_leave_the_development_database_alone(project: Project, tmp_path: Path) -> None:
    project.just("migrate-up")
    project.sql("INSERT INTO users (email, full_name) VALUES ('a@b.example', 'A')")
    project.write(".env", "MIGRATION_DATABASE_URL=postgresql://nobody@/nowhere?host=/nowhere\n")

    project.just("test", "-n", "2")

    assert project.sql("SELECT email FROM users") == "a@b.example"


@pytest.mark.slow
def test_a_test_of_a_new_route_needs_no_set_up(project: Project) -> None:
    project.write(
        "src/app/api/v1/ping.py",
        """
from fastapi import APIRouter

router = APIRouter(prefix="/ping", tags=["ping"])


@router.get("")
async def ping() -> str:
    return "pong"
""",
    )
    project.write(
        "tests/api/test_ping.py",
        """
import httpx2


async def test_ping(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/ping")).json() == "pong"


def test_what_is_not_async_runs_beside_it() -> None:
    assert True
""",
    )

    project.just("test", "tests/api/test_ping.py")


SERVE = ("devdb", "uvicorn", "app.main:app")


@pytest.mark.slow
def test_migrations_at_the_start_are_waited_for_while_the_service_lives(project: Project) -> None:
    project.uv_run("true")
    with project.background("just", "db-shell", "-c", HOLD_THE_LOCK):
        until(lambda: project.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'"))
        with project.served(*SERVE, MIGRATE_ON_START="true") as url:
            assert status(f"{url}/health/ready") == 503
            project.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND granted"
            )
            until(lambda: status(f"{url}/health/ready") == 200)
            assert httpx2.get(f"{url}/api/v1/users").json()["items"] == []


@pytest.mark.slow
def test_a_migration_that_fails_at_the_start_stops_the_service(project: Project) -> None:
    project.edit(
        "src/migrations/versions/20260101_0000_000000000001_create_users_and_posts.py",
        "def upgrade() -> None:\n",
        'def upgrade() -> None:\n    op.execute("SELECT nowhere")\n',
    )

    done = project.uv_run(*SERVE, "--port", "0", check=False, MIGRATE_ON_START="true")

    assert done.returncode
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_json_log_lines_give_each_revision_with_its_duration(project: Project) -> None:
    done = project.uv_run("devdb", "alembic", "upgrade", "head", LOG_FORMAT="json")

    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    [applied] = [line for line in lines if "duration" in line]
    assert applied["revision"] == "000000000001"
    assert applied["duration"] > 0
    assert {line["level"] for line in lines} == {"info"}
