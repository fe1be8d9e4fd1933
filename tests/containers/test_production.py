"""docker-compose.prod.yml: what it asks for, and two deployments with it."""

import json
from pathlib import Path

import pytest

from packages.slipway.tests.processes import run
from tests.containers.engine import Postgres, Stack, docker, inspect, stack, unique_name
from tests.project import Project

pytestmark = pytest.mark.docker

# Where the database of the test is; a user's would be anywhere.
NETWORK = "networks:\n  default:\n    name: {name}\n    external: true\n"
FILE = "docker-compose.prod.yml"


def answers(container: str, path: str) -> bool:
    check = ("python", "-m", "app.core.health.healthcheck", path)
    return docker("exec", container, *check, check=False).returncode == 0


@pytest.mark.parametrize("missing", ["DATABASE_URL", "VERSION"])
def test_what_is_missing_is_named(project: Project, missing: str) -> None:
    given = {"DATABASE_URL": "", "VERSION": "1"}
    del given[missing]

    done = Stack(project.path, given, (FILE,))("config", check=False)

    assert done.returncode
    assert f"{missing} is missing a value: set it" in done.stderr


def test_an_example_of_settings_makes_no_production_a_development(project: Project) -> None:
    project.write(".env", (project.path / ".env.example").read_text())

    assert {given["ENVIRONMENT"] for given in environments(project).values()} == {"production"}


def environments(project: Project, **variables: str) -> dict[str, dict[str, str]]:
    """What the containers of each service are given."""
    given = {"DATABASE_URL": "", "VERSION": "1", **variables}
    printed = Stack(project.path, given, (FILE,))("config", "--format", "json").stdout
    services = json.loads(printed)["services"]
    return {name: service["environment"] for name, service in services.items()}


def test_any_setting_may_stand_in_a_file(project: Project) -> None:
    project.write(".env", "ALLOWED_HOSTS=api.example.com\nDATABASE_URL_FILE=/somewhere/url\n")

    for given in environments(project).values():
        assert given["ALLOWED_HOSTS"] == "api.example.com"
        assert given["DATABASE_URL_FILE"] == "/run/secrets/database_url"


@pytest.mark.parametrize("name", ["MIGRATION_DATABASE_URL", "MIGRATION_DATABASE_URL_FILE"])
def test_only_the_migration_knows_who_may_change_the_schema(project: Project, name: str) -> None:
    project.write(".env", f"{name}=postgresql://owner@db/app\n")

    given = environments(project)

    assert given["migrate"][name]
    assert given["web"][name] == ""


def test_no_password_is_in_the_file(project: Project) -> None:
    configuration = Stack(project.path, {"DATABASE_URL": "", "VERSION": "1"}, (FILE,))("config")

    assert "@" not in configuration.stdout
    assert "PASSWORD" not in configuration.stdout.upper()


def test_two_replicas_serve_and_outlive_a_migration_that_fails(
    project: Project, database: Postgres, tmp_path: Path
) -> None:
    url = database.create_database()
    secret = tmp_path / "database_url"
    secret.write_text(f"{url}\n")
    network = tmp_path / "network.yml"
    network.write_text(NETWORK.format(name=database.network))
    variables = {"DATABASE_URL": "", "DATABASE_URL_FILE": str(secret), "IMAGE": unique_name()}
    with stack(project.path, FILE, str(network), **variables) as production:
        project = Project(project.path, production.variables)
        project.just("build", VERSION="1")
        production("up", "--detach", "--wait", "--no-build", VERSION="1")

        first = production.containers("web")
        assert len(first) == 2
        for container in first:
            assert answers(container, "/api/v1/users")
            assert_confined(container)
            assert database.password not in str(inspect(container))

        project.write("src/migrations/versions/bad.py", FAILING)
        project.just("build", VERSION="2")
        done = production("run", "--rm", "migrate", check=False, VERSION="2")

        assert done.returncode
        assert "bad.py, line " in done.stderr
        assert production.containers("web") == first
        assert all(answers(container, "/api/v1/users") for container in first)


def assert_confined(container: str) -> None:
    details = inspect(container)
    host = details["HostConfig"]
    assert details["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"]
    assert host["PidsLimit"]
    assert not host["PortBindings"]
    assert [mount["Destination"] for mount in details["Mounts"] if mount["RW"]] == []


def test_images_are_tagged_with_the_version_of_the_project(project: Project) -> None:
    version = run("uv", "version", "--short", cwd=project.path).stdout.strip()

    with stack(project.path, IMAGE=unique_name()) as compose:
        Project(project.path, compose.variables).just("build")

        for name in ("{IMAGE}", "{IMAGE}-migrate"):
            assert inspect(f"{name.format(**compose.variables)}:{version}")


FAILING = """
from alembic import op

revision = "bad"
down_revision = "000000000001"


def upgrade() -> None:
    op.execute("SELECT 1 / 0")
"""
