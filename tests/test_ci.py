"""The CI workflows of a project: their commands, run against a server as CI's is."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from packages.slipway.tests.processes import git, run
from slipway import devdb
from tests.conftest import Render
from tests.project import Project

pytestmark = pytest.mark.slow


def commands_of(project: Path, ci: str, file: str, job: str) -> list[str]:
    text = yaml.safe_load((project / file).read_text())
    steps = text["jobs"][job]["steps"] if ci == "github" else text[job]["script"]
    return [step.get("run", "") if isinstance(step, dict) else step for step in steps]


def github(project: Path) -> list[str]:
    return list(filter(None, commands_of(project, "github", ".github/workflows/ci.yml", "check")))


def gitlab(project: Path) -> list[str]:
    commands = commands_of(project, "gitlab", ".gitlab-ci.yml", "check")
    return [command for command in commands if command.startswith(("uv ", "git ", "test "))]


def merged(project: Path) -> None:
    """Let this be what the base branch has."""
    Project(project).commit()
    git("update-ref", "refs/remotes/origin/main", "HEAD", cwd=project)


PULL_REQUEST = {"BASE": "origin/main"}


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
                **PULL_REQUEST,
            }
            run("sh", "-c", command, cwd=project, variables=variables)


@pytest.mark.parametrize("commands", [github, gitlab])
def test_ci_refuses_a_migration_that_blocks(
    render: Render, commands: Callable[[Path], list[str]]
) -> None:
    project = render(ci=commands.__name__)
    merged(project)
    [guard] = [command for command in commands(project) if "slipway guard" in command]
    versions = project / "src/migrations/versions"
    (versions / "slow.py").write_text(
        '"""index titles"""\n\nfrom alembic import op\n\n'
        'revision = "51o7"\ndown_revision = "000000000001"\n\n\n'
        'def upgrade() -> None:\n    op.create_index("ix_posts_title", "posts", ["title"])\n\n\n'
        'def downgrade() -> None:\n    op.drop_index("ix_posts_title")\n'
    )

    done = run("sh", "-c", guard, cwd=project, check=False, variables=PULL_REQUEST)

    assert done.returncode == 1
    assert "index-not-concurrent" in done.stdout
    assert "slow.py" in done.stdout


@pytest.mark.parametrize("commands", [github, gitlab])
@pytest.mark.parametrize(("before", "base"), [("HEAD~1", "HEAD~1"), (40 * "0", "HEAD")])
def test_a_push_is_compared_with_what_was_there_before(
    render: Render, commands: Callable[[Path], list[str]], before: str, base: str, tmp_path: Path
) -> None:
    project = render(ci=commands.__name__)
    merged(project)
    git("commit", "--quiet", "--allow-empty", "--message", "pushed", cwd=project)
    [check] = [command for command in commands(project) if command.startswith("git ")]
    exported = tmp_path / "exported"
    exported.touch()

    found = run(
        *("sh", "-e", "-c", f"{check}\n. {exported}\necho $BASE"),
        cwd=project,
        variables={"BASE": before, "GITHUB_ENV": str(exported)},
    )

    assert found.stdout.strip() == base


@pytest.mark.parametrize("commands", [github, gitlab])
def test_ci_refuses_a_migration_that_breaks_the_running_version(
    render: Render, commands: Callable[[Path], list[str]]
) -> None:
    project = render(ci=commands.__name__)
    merged(project)
    [overlap] = [command for command in commands(project) if "slipway overlap" in command]
    (project / "src/migrations/versions/renamed.py").write_text(
        '"""rename"""\n\nfrom alembic import op\n\n'
        'revision = "4e4a"\ndown_revision = "000000000001"\n\n\n'
        "def upgrade() -> None:\n"
        '    op.alter_column("users", "full_name", new_column_name="name")\n\n\n'
        "def downgrade() -> None:\n"
        '    op.alter_column("users", "name", new_column_name="full_name")\n'
    )

    with devdb.temporary_server() as url:
        variables = {"DATABASE_URL": url, **PULL_REQUEST}
        done = run("sh", "-c", overlap, cwd=project, check=False, variables=variables)

    assert done.returncode == 1
    assert "old-version-fails" in done.stdout
    assert "renamed.py" in done.stdout


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


# ---- What cannot run here: each file is what its reader expects

SCHEMAS = [
    ("github", ".github/workflows/ci.yml", "github-workflows"),
    ("github", ".github/workflows/security.yml", "github-workflows"),
    ("github", ".github/workflows/release.yml", "github-workflows"),
    ("github", ".github/dependabot.yml", "dependabot"),
    ("gitlab", ".gitlab-ci.yml", "gitlab-ci"),
    ("gitlab", ".gitlab/renovate.json", "renovate"),
]


@pytest.mark.parametrize(("ci", "file", "schema"), SCHEMAS)
def test_a_file_fits_the_schema_of_its_reader(
    render: Render, ci: str, file: str, schema: str
) -> None:
    check = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}")
    run(*check, file, cwd=render(ci=ci))


def test_zizmor_finds_nothing_in_the_workflows(render: Render) -> None:
    """Actions pinned by commit, least privilege, no credentials kept, nothing injected."""
    zizmor = Path(sys.executable).with_name("zizmor")

    run(zizmor, "--offline", "--min-severity=medium", ".", cwd=render())


@pytest.mark.parametrize(
    ("ci", "file", "job"),
    [
        ("github", ".github/workflows/security.yml", "dependencies"),
        ("gitlab", ".gitlab-ci.yml", "dependencies"),
    ],
)
def test_dependencies_that_cannot_be_audited_do_not_pass(
    render: Render, ci: str, file: str, job: str
) -> None:
    project = render(ci=ci)
    commands = commands_of(project, ci, file, job)
    [audit] = [command for command in commands if command.startswith("uv audit")]
    run("uv", "lock", "--quiet", cwd=project)

    nobody = "http://127.0.0.1:9"
    done = run(*("sh", "-c", f"{audit} --service-url {nobody}"), cwd=project, check=False)

    assert done.returncode
    assert nobody in done.stderr
    assert "experimental" not in done.stderr


@pytest.mark.parametrize(
    ("ci", "file", "job", "variable"),
    [
        ("github", ".github/workflows/release.yml", "images", "GITHUB_REF_NAME"),
        ("gitlab", ".gitlab-ci.yml", "release", "CI_COMMIT_TAG"),
    ],
)
def test_only_a_tag_that_is_the_version_is_released(
    render: Render, ci: str, file: str, job: str, variable: str
) -> None:
    project = render(ci=ci)
    [check] = [command for command in commands_of(project, ci, file, job) if "grep" in command]

    for tag, released in [("v0.1.0", True), ("v0.1.1", False), ("v0.1", False)]:
        done = run("bash", "-c", check, cwd=project, check=False, variables={variable: tag})
        assert (done.returncode == 0) is released


# ---- Before a commit, and coverage


@pytest.mark.parametrize("tool", ["pre-commit", "prek"])
def test_hooks_refuse_bad_style(render: Render, tool: str) -> None:
    project = render()
    Project(project).commit()
    hooks = (Path(sys.executable).with_name(tool), "run", "--all-files")
    run(*hooks, cwd=project)

    (project / "src/app/untidy.py").write_text("import os\nx = {  }\n")
    git("add", ".", cwd=project)
    done = run(*hooks, cwd=project, check=False)

    assert done.returncode
    assert "untidy.py" in done.stdout


@pytest.mark.parametrize("example", [True, False])
def test_coverage_has_a_floor_that_a_new_project_reaches(render: Render, example: bool) -> None:
    project = Project(render(example=example))
    project.just("coverage", "-n", "2")

    body = "".join(f"    number += {n}\n" for n in range(1000))
    project.write(
        "src/app/untested.py", f"def untested(number: int) -> int:\n{body}    return number\n"
    )
    done = project.just("coverage", "-n", "2", check=False)

    assert done.returncode
    assert "untested.py" in done.stdout
