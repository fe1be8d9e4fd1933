"""docker-compose.yml: from nothing to a service that is worked on."""

import dataclasses
import os

import httpx2
import pytest

from packages.slipway.tests.processes import until
from tests.containers.engine import Stack, stack
from tests.project import Project, status

pytestmark = pytest.mark.docker

TEAM = """
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.base import Base
from app.core.db.mixins import UUIDPrimaryKey


class Team(UUIDPrimaryKey, Base):
    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(unique=True)
"""
USER = {"email": "ada@example.com", "full_name": "Ada"}


def local(project: Project, compose: Stack) -> Project:
    """The project, its commands working on the database of the stack as .env.example names it."""
    example = (project.path / ".env.example").read_text()
    project.write(".env", example.replace(":15432/", f":{compose.variables['DATABASE_PORT']}/"))
    return dataclasses.replace(project, variables=compose.variables)


def test_a_new_project_comes_up(development: Stack) -> None:
    development("up", "--wait")

    assert status(f"{development.url}/api/v1/users") == 200
    assert development("exec", "web", "id", "-u").stdout.strip() == "10001"
    for path in ("/app/file", "/app/src/file", "/file"):
        assert development("exec", "web", "touch", path, check=False).returncode


def test_work_goes_on_in_a_running_stack(project: Project, development: Stack) -> None:
    project = local(project, development)
    project.just("up")
    httpx2.post(f"{development.url}/api/v1/users", json=USER).raise_for_status()

    # A change of code is served by itself.
    project.edit("src/app/api/health.py", '@router.get("/live")', '@router.get("/alive")')
    until(lambda: status(f"{development.url}/health/alive") == 200)

    # A change of the models is applied by going up again.
    project.write("src/app/models/team.py", TEAM)
    project.just("migrate-gen", "add teams")
    development("up", "--detach", "--wait")
    assert "teams" in project.sql("SELECT tablename FROM pg_tables")
    assert "add teams" in project.just("logs", "migrate").stdout
    project.just("docker-migrate", "downgrade", "-1")
    assert "teams" not in project.sql("SELECT tablename FROM pg_tables")

    # Data outlives `down`; nothing but `reset-db` clears it.
    project.just("down")
    project.just("up")
    assert (
        httpx2.get(f"{development.url}/api/v1/users").json()["items"][0]["email"] == USER["email"]
    )
    project.just("--yes", "reset-db")
    assert httpx2.get(f"{development.url}/api/v1/users").json()["items"] == []

    owners = {path.stat().st_uid for path in project.path.rglob("*")}
    assert owners == {os.getuid()}


def test_a_migration_that_fails_keeps_the_server_from_starting(
    project: Project, development: Stack
) -> None:
    [revision] = project.revisions()
    project.edit(f"src/migrations/versions/{revision.name}", "def upgrade() -> None:\n", FAILING)

    done = local(project, development).just("up", check=False)

    assert done.returncode
    assert development.containers("web") == []
    assert f"{revision.name}, line " in done.stdout


FAILING = 'def upgrade() -> None:\n    op.execute("SELECT 1 / 0")\n'


def test_compose_override_is_the_user_s(project: Project) -> None:
    project.write("compose.override.yaml", "services:\n  web:\n    environment:\n      MINE: yes\n")

    with stack(project.path) as compose:
        assert "MINE" in compose("config").stdout
