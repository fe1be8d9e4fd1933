"""The CI workflows of a project: their commands, run against a server as CI's is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import devdb
from tests.conftest import Render
from tests.processes import run

pytestmark = pytest.mark.slow


def github(project: Path) -> list[str]:
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    return [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]


def gitlab(project: Path) -> list[str]:
    pipeline = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    return [command for command in pipeline["check"]["script"] if command != "pip install uv"]


@pytest.mark.parametrize("commands", [github, gitlab])
def test_a_new_project_passes_its_ci(render: Render, commands: Callable[[Path], list[str]]) -> None:
    project = render(ci=commands.__name__)
    run("uv", "lock", "--quiet", cwd=project)

    with devdb.temporary_server() as url:
        for command in commands(project):
            variables = {"DATABASE_URL": url, "ENVIRONMENT": "development"}
            run("sh", "-c", command, cwd=project, variables=variables)


def test_ci_would_notice_models_that_have_no_migration(render: Render) -> None:
    project = render()
    (project / "src/app/models/team.py").write_text(
        "from app.core.db.base import Base\n"
        "from app.core.db.mixins import UUIDPrimaryKey\n\n\n"
        'class Team(UUIDPrimaryKey, Base):\n    __tablename__ = "teams"\n'
    )
    with devdb.temporary_server() as url:
        variables = {"DATABASE_URL": url, "ENVIRONMENT": "development"}
        for command in ["uv run alembic upgrade head", "uv run alembic check"]:
            done = run("sh", "-c", command, cwd=project, check=False, variables=variables)

    assert done.returncode
