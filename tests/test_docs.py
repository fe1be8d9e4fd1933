"""Every command that the documentation shows is run, and prints what is shown."""

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from packages.slipway.tests.processes import run
from tests.conftest import ROOT
from tests.project import Project, status
from tests.test_recipes import recipes

README = ROOT / "README.md"
URL = "PATH-OR-URL-OF-THIS-REPOSITORY"


@dataclass(frozen=True)
class Shown:
    command: str
    output: list[str] = field(default_factory=list)


def section(document: Path, title: str) -> str:
    _, _, rest = document.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert rest, f"{document} has no section {title}"
    return rest.partition("\n## ")[0]


def shown(text: str) -> list[Shown]:
    """The commands in the console blocks of `text`, with the output that stands below each."""
    commands: list[Shown] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append(Shown(line.removeprefix("$ ")))
            else:
                commands[-1].output.append(line)
    return commands


def start(template: Path, folder: Path, **variables: str) -> Project:
    """Type what the README's start says into an empty folder, up to a served /docs."""
    copy, change_folder, serve = shown(section(README, "Start"))
    source = copy.command.replace(URL, str(template))
    assert source != copy.command

    printed = run("sh", "-c", f"{source} --defaults", cwd=folder, variables=variables).stderr
    # What Copier prints in the end are the commands that follow in the README.
    assert change_folder.command in printed
    assert serve.command in printed

    project = Project(folder / change_folder.command.removeprefix("cd "), variables)
    with project.served(*serve.command.split()[2:]) as url:
        assert status(f"{url}/docs") == 200
    return project


def tour(project: Project) -> None:
    """Do what the README's tour does, and compare what is printed with what it shows."""
    text = section(README, "A short tour")
    for block in re.findall(r"```(?:python|console)\n.*?```\n", text, re.DOTALL):
        if file := re.match(r"```python\n# (\S+)\n(.*)```", block, re.DOTALL):
            project.write(file[1], file[2])
        for step in shown(block):
            assert_prints(project, step)


def assert_prints(project: Project, step: Shown) -> None:
    done = run("sh", "-c", step.command, cwd=project.path, check=False, variables=project.variables)
    printed = [line.strip("= ") for line in (done.stdout + done.stderr).splitlines()]
    for line in step.output:
        assert fnmatch.filter(printed, line.replace("[", "[[]").replace("…", "*")), printed


def test_the_start_works_in_an_empty_folder(template: Path, tmp_path: Path) -> None:
    start(template, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_first_five_minutes(template: Path, tmp_path: Path, python: str) -> None:
    project = start(template, tmp_path, UV_PYTHON=python)
    assert f"Python {python}." in project.uv_run("python", "--version").stdout

    tour(project)
    project.just("check")


def test_the_test_command_of_the_readme_is_what_ci_runs() -> None:
    commands = [step.command for step in shown(section(README, "Work on the template"))]

    [test_command] = [command for command in commands if command.endswith("just test")]
    assert test_command in (ROOT / ".ci/run").read_text()


@pytest.mark.slow
def test_serve_renders_and_serves_this_folder(tmp_path: Path) -> None:
    commands = [step.command for step in shown(section(README, "Work on the template"))]
    assert any(command.endswith("uv run just serve") for command in commands)
    clone = tmp_path / "slipway"
    run("git", "clone", "--quiet", str(ROOT), str(clone), cwd=tmp_path)

    with Project(clone).served("just", "serve") as url:
        assert status(f"{url}/docs") == 200


# What the documents of a project show, and how each is run here, in this order in one project.
PROJECT_COMMANDS: dict[str, list[str]] = {
    "just": ["just"],
    "just migrate-up +1": ["just", "migrate-up", "+1"],
    "just migrate-up": ["just", "migrate-up"],
    "just migrate-check": ["just", "migrate-check"],
    "just migrate-current": ["just", "migrate-current"],
    "just migrate-history": ["just", "migrate-history"],
    "just migrate-guard": ["just", "migrate-guard"],
    "just migrate-guard --all": ["just", "migrate-guard", "--all"],
    "just migrate-guard --explain drop-column": [
        "just",
        "migrate-guard",
        "--explain",
        "drop-column",
    ],
    "just migrate-sql": ["just", "migrate-sql"],
    'just migrate-gen "message"': ["just", "migrate-gen", "message"],
    'just migrate-gen "add teams"': ["just", "migrate-gen", "add teams"],
    'just migrate-gen-unsafe "message"': ["just", "migrate-gen-unsafe", "message"],
    'just migrate-new "message"': ["just", "migrate-new", "message"],
    "just migrate-rehearse": ["just", "migrate-rehearse", "--rows", "100"],
    "just migrate-rehearse --html rehearsal.html": [
        *("just", "migrate-rehearse", "--rows", "100", "--html", "rehearsal.html"),
    ],
    "just migrate-overlap": ["just", "migrate-overlap"],
    "uv run devdb alembic …": ["devdb", "alembic", "upgrade", "head"],
    "just migrate-verify": ["just", "migrate-verify"],
    "just migrate-down": ["just", "migrate-down"],
    "just migrate-down REVISION": ["just", "migrate-down", "000000000001"],
    "just migrate-down base": ["just", "migrate-down", "base"],
    "just reset-db": ["just", "--yes", "reset-db"],
    "just migrate-stamp head": ["just", "migrate-stamp", "head"],
    "just test -k NAME": ["just", "test", "-k", "health"],
    "just format": ["just", "format"],
    "just test": ["just", "test"],
    "just check": ["just", "check"],
}
RUN_ELSEWHERE = {
    "just dev",  # test_the_start_works_in_an_empty_folder
    'just migrate-gen "create tables"',  # test_live: from a sketch to migrations
    "uv add sqlmodel",  # test_live: SQLModel
    "uvx copier update",  # test_update
    "uvx pre-commit install",  # test_the_hooks_before_a_commit_refuse_a_migration_that_blocks
    "uv run alembic …",  # test_live: any password
    "just backfill NAME",  # test_recipes, as all that follow
    "just backfill NAME --dry-run",
    "just backfill NAME [--dry-run]",
    "just up",  # tests/containers, as all that follow
    "just logs",
    "just down",
    "just docker-migrate",
    "just docker-migrate downgrade -1",
    "just build",
}
NOT_COMMANDS = {"uv run", "uv tool install rust-just"}


@pytest.mark.parametrize("document", ["README.md", "AGENTS.md", "docs/migrations.md"])
def test_a_project_s_documents_show_only_commands_that_are_tested(
    project: Project, document: str
) -> None:
    text = (project.path / document).read_text(encoding="utf-8")
    shown = re.findall(r"`((?:just|uvx?)(?: [^`]*)?)`", text)
    shown += re.findall(r"^\$ (.*)$", text, re.MULTILINE)

    commands = {re.sub(r"^uv run (?=just)", "", command) for command in shown}
    commands -= {
        line.removeprefix("$ ")
        for blocks in recipes().values()
        for language, _, code in blocks
        if language == "console"
        for line in code.splitlines()
    }
    assert commands <= PROJECT_COMMANDS.keys() | RUN_ELSEWHERE | NOT_COMMANDS


@pytest.mark.slow
def test_the_commands_of_a_project_s_documents_run(project: Project) -> None:
    for command in PROJECT_COMMANDS.values():
        project.uv_run(*command)


def test_the_configuration_of_the_guard_that_is_shown_is_accepted(project: Project) -> None:
    text = (project.path / "docs/migrations.md").read_text(encoding="utf-8")
    [configuration] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    before = (project.path / "pyproject.toml").read_text(encoding="utf-8")
    project.write("pyproject.toml", before.partition("[tool.slipway]")[0] + configuration)

    done = project.just("migrate-guard", "--all", check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_hooks_before_a_commit_refuse_a_migration_that_blocks(project: Project) -> None:
    project.just("migrate-up")
    project.just("migrate-new", "index posts")
    [_, revision] = project.revisions()
    text = revision.read_text(encoding="utf-8")
    index = 'def upgrade() -> None:\n    op.create_index("ix_posts_title", "posts", ["title"])'
    revision.write_text(text.replace("def upgrade() -> None:\n    pass", index), encoding="utf-8")
    run("uvx", "pre-commit", "install", cwd=project.path)
    run("git", "add", "--all", cwd=project.path)

    done = run("git", "commit", "--message", "an index", cwd=project.path, check=False)

    assert done.returncode
    assert "index-not-concurrent" in done.stdout + done.stderr
    (project.path / ".git/hooks/pre-commit").unlink()
