"""The CI workflows of a project: their commands, run against a server as CI's is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import devdb
from tests.conftest import Render
from tests.processes import git, run
from tests.project import Project

pytestmark = pytest.mark.slow


def github(project: Path) -> list[str]:
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    return [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]


def gitlab(project: Path) -> list[str]:
    pipeline = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    commands: list[str] = pipeline["check"]["script"]
    return [command for command in commands if command.startswith(("uv ", "test "))]


def merged(project: Path) -> None:
    """Let this be what the base branch has."""
    Project(project).commit()
    git("update-ref", "refs/remotes/origin/main", "HEAD", cwd=project)


@pytest.mark.parametrize("commands", [github, gitlab])
def test_a_new_project_passes_its_ci(render: Render, commands: Callable[[Path], list[str]]) -> None:
    project = render(ci=commands.__name__)
    run("uv", "lock", "--quiet", cwd=project)
    merged(project)

    with devdb.temporary_server() as url:
        for command in commands(project):
            variables = {
                "DATABASE_URL": url,
                "ENVIRONMENT": "development",
                "CI_DEFAULT_BRANCH": "main",
            }
            run("sh", "-c", command, cwd=project, variables=variables)


@pytest.mark.parametrize("commands", [github, gitlab])
def test_ci_refuses_a_migration_that_blocks(
    render: Render, commands: Callable[[Path], list[str]]
) -> None:
    project = render(ci=commands.__name__)
    merged(project)
    [guard] = [command for command in commands(project) if "migrator guard" in command]
    versions = project / "src/migrations/versions"
    (versions / "slow.py").write_text(
        '"""index titles"""\n\nfrom alembic import op\n\n'
        'revision = "51o7"\ndown_revision = "000000000001"\n\n\n'
        'def upgrade() -> None:\n    op.create_index("ix_posts_title", "posts", ["title"])\n\n\n'
        'def downgrade() -> None:\n    op.drop_index("ix_posts_title")\n'
    )

    done = run(
        *("sh", "-c", guard), cwd=project, check=False, variables={"CI_DEFAULT_BRANCH": "main"}
    )

    assert done.returncode == 1
    assert "index-not-concurrent" in done.stdout
    assert "slow.py" in done.stdout


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
