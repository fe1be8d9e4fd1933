"""The images: what is in them, how they are built, how they start and stop."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from packages.slipway.tests.processes import run, until
from packages.vendored_wheel import version
from tests.conftest import Render
from tests.containers.engine import Postgres, built, docker, inspect, unique_name
from tests.project import Project

pytestmark = pytest.mark.docker

INSTALLED = """
import importlib.metadata, json
print(json.dumps({d.name.lower(): d.version for d in importlib.metadata.distributions()}))
"""
UNCOMPILED = """
import importlib, importlib.util, pathlib
for name in ["app", "migrations", "slipway", "fastapi", "sqlalchemy"]:
    for file in pathlib.Path(importlib.import_module(name).__file__).parent.rglob("*.py"):
        if not pathlib.Path(importlib.util.cache_from_source(file)).exists():
            print(file)
"""


def python(image: str, code: str) -> str:
    return docker("run", "--rm", "--entrypoint", "python", image, "-c", code).stdout


def installed_in(image: str) -> dict[str, str]:
    """The distributions in an image, with their versions."""
    installed = json.loads(python(image, INSTALLED))
    return {name.replace("_", "-"): version for name, version in installed.items()}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[~=]", requirement)[0] for requirement in requirements}


@pytest.fixture(params=["migrate", "web"])
def image(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_image"))


# ---- What is in them


def test_an_image_holds_no_tools(image: str) -> None:
    tools = "uv uvx gcc cc make git curl pytest mypy ruff just"

    found = docker(
        *("run", "--rm", "--entrypoint", "sh", image, "-c"),
        f"for tool in {tools}; do command -v $tool; done; true",
    )

    assert found.stdout == ""


def test_an_image_holds_no_postgresql(image: str) -> None:
    """The library brings the command `devdb`, which can start nothing here."""
    done = docker("run", "--rm", "--entrypoint", "devdb", image, "true", check=False)

    assert done.returncode
    assert "DATABASE_URL" in done.stderr


def test_an_image_holds_the_dependencies_of_the_service_only(image: str, project: Project) -> None:
    configuration = tomllib.loads((project.path / "pyproject.toml").read_text())
    needed = names(configuration["project"]["dependencies"])
    development = names(configuration["dependency-groups"]["dev"])

    installed = installed_in(image)

    assert needed | {"billing-api"} <= installed.keys()
    assert installed["alembic-slipway"] == version()
    assert not development & installed.keys()


def test_an_image_holds_only_code_that_runs_in_it(image: str) -> None:
    listed = docker("run", "--rm", "--entrypoint", "ls", image, "-A", "/app", "/app/src")

    contents = ["/app:", ".venv", "pyproject.toml", "src", "/app/src:", "app", "migrations"]
    assert listed.stdout.split() == contents


def test_all_code_is_compiled(image: str) -> None:
    assert python(image, UNCOMPILED) == ""


def test_an_image_s_user_is_a_fixed_number_that_owns_nothing(image: str) -> None:
    assert inspect(image)["Config"]["User"] == "10001:10001"

    writable = docker(
        *("run", "--rm", "--entrypoint", "find", image, "/app", "/usr", "/etc", "-xdev"),
        *("-not", "-type", "l", "-writable"),
        check=False,  # some folders of the system may not even be read
    )
    assert writable.stdout == ""


# ---- How they are built


def rebuild(project: Path) -> str:
    """What the build of an image says that nobody keeps."""
    return docker("build", "--output", "type=cacheonly", "--progress", "plain", str(project)).stderr


def test_a_change_of_code_installs_nothing(render: Render) -> None:
    project = render()
    with built(project, "web"):
        main = project / "src/app/main.py"
        main.write_text(main.read_text() + f"# {unique_name()}\n")
        log = rebuild(project)

    # "#11 [build 5/8] RUN …" is followed by "#11 CACHED" where the step did not run.
    done = re.findall(r"^(#\d+) \[\S+ \d+/\d+\] (.*)\n(?:\1 (?!CACHED).*\n)*", log, re.MULTILINE)
    ran = [step for number, step in done if f"{number} CACHED\n" not in log]
    assert any("compileall" in step for step in ran)
    assert [step for step in ran if "uv sync" in step or "/app/.venv" in step] == []


def test_what_was_downloaded_once_is_not_downloaded_again(render: Render) -> None:
    project = Project(render())
    # What is newest may change between the two.
    run("uv", "lock", "--quiet", cwd=project.path)
    with built(project.path, "web"):
        project.edit("pyproject.toml", "[project]\n", f"# {unique_name()}\n[project]\n")
        log = rebuild(project.path)

    assert re.search(r"Installed \d+ packages", log)
    # uv prepares what it has not kept: the wheel in vendor/ and the project, which are here.
    assert re.findall(r"Prepared (\d+ package.*) in", log) == ["1 package", "1 package"]


def test_what_is_installed_is_what_the_lock_file_names(render: Render) -> None:
    project = render()
    # Not the newest one: only a lock file keeps it.
    run("uv", "lock", "--quiet", "--upgrade-package", "idna==3.18", cwd=project)

    with built(project, "web") as image:
        assert installed_in(image)["idna"] == "3.18"


def test_a_lock_file_that_does_not_fit_is_refused(render: Render) -> None:
    project = Project(render())
    run("uv", "lock", "--quiet", cwd=project.path)
    project.edit("pyproject.toml", '"alembic~=1.20"', '"alembic~=1.20", "tomlkit"')

    done = docker("build", str(project.path), check=False)

    assert done.returncode
    assert "--locked" in done.stderr


def test_nothing_but_code_reaches_a_build(render: Render) -> None:
    project = render()
    for name in [".env", "key.pem", ".git/HEAD", ".venv/bin/python", "src/app/__pycache__/x.pyc"]:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("s3cret")

    with built(project, "build") as image:
        found = docker("run", "--rm", image, "grep", "-rl", "s3cret", "/app", check=False)

    assert (found.returncode, found.stdout) == (1, "")


def test_code_that_only_its_owner_may_read_runs(render: Render, database: Postgres) -> None:
    project = render()
    for path in [*project.rglob("*"), project]:
        path.chmod(0o700 if path.is_dir() else 0o600)

    with built(project, "migrate") as image:
        done = database.run(image, DATABASE_URL=database.create_database())

    assert done.returncode == 0, done.stderr


# ---- How they start and stop


def test_the_image_serves_when_it_may_do_nothing_else(web_image: str, database: Postgres) -> None:
    url = database.create_database()
    with database.running(web_image, DATABASE_URL=url) as container:
        until(lambda: inspect(container)["State"]["Health"]["Status"] == "healthy")

        assert docker("exec", container, "touch", "/app/file", check=False).returncode
        assert docker("exec", container, "touch", "/tmp/file", check=False).returncode == 0  # noqa: S108


def test_a_migration_that_fails_at_the_start_is_no_success(
    web_image: str, database: Postgres
) -> None:
    url = database.create_database()
    database.sql("CREATE TABLE users ()", url)

    done = database.run(web_image, DATABASE_URL=url, MIGRATE_ON_START="true")

    assert done.returncode == 1
    assert "already exists" in done.stderr


def test_a_server_that_does_not_answer_is_unhealthy(web_image: str) -> None:
    check = inspect(web_image)["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"

    done = docker(
        *("run", "--rm", "--entrypoint", check[1], web_image, *check[2:]),
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("init", [False, True])
def test_the_server_stops_by_itself_when_it_is_told_to(
    web_image: str, database: Postgres, init: bool
) -> None:
    options = ["--init"] if init else []
    url = database.create_database()
    with database.running(web_image, *options, DATABASE_URL=url) as container:
        until(lambda: "startup complete" in docker("logs", container).stderr)

        docker("stop", "--time", "60", container)

        assert "Application shutdown complete" in docker("logs", container).stderr
        # 128 + SIGTERM, said by what stands before the server; 137 would be SIGKILL.
        assert inspect(container)["State"]["ExitCode"] in (0, 143)
