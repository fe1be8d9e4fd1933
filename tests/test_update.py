"""Updates: a user gets what changed in the template and keeps what they changed themselves.

A temporary clone turns the working tree into a release on top of the real history. Copier's API
trusts nothing unless told to, so that each update here also proves that `--trust` is not needed.
"""

import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import copier
import pytest

from packages.slipway.tests.processes import git, run
from packages.vendored_wheel import build, version
from slipway.project import renamed
from tests.conftest import ROOT
from tests.project import Project
from tests.test_render import CI, EXAMPLE, MIGRATION, commands

# ---- The three classes of file; what is in neither table is managed.

KEPT = ["CHANGELOG.md", "uv.lock"]
SEEDED = ["README.md", "src/migrations/versions/*.py", *EXAMPLE]

# ---- Releases

OLDER, NEWEST = "v9998.0.0", "v9999.0.0"
OLD_LIBRARY = "0.0.1+template"
MARK = "# Of the older release.\n"
ADDED = "docs/migrations.md"
REMOVED = "src/app/core/retired.py"


def releases() -> dict[str, str]:
    """The last commit of each earlier version, by the tag it would have."""
    tags: dict[str, str] = {}
    bumps = git(
        "log", "--reverse", "--format=%H", "-G^version = ", "--", "pyproject.toml", cwd=ROOT
    )
    for bump in bumps.split()[1:]:
        text = git("show", f"{bump}^:pyproject.toml", cwd=ROOT)
        tags[f"v{tomllib.loads(text)['project']['version']}"] = f"{bump}^"
    return tags


RELEASES = [pytest.param(tag, marks=pytest.mark.slow) for tag in releases()]


def make_older(template: Path) -> None:
    """Undo what a next release would do: change each file, add one, remove one, bump versions."""
    [wheel] = (template / "vendor").iterdir()
    wheel.rename(wheel.with_name(wheel.name.replace(version(), OLD_LIBRARY)))
    for file in template.rglob("*"):
        if file.is_file() and file.suffix != ".whl":
            file.write_text(MARK + file.read_text("utf-8"), "utf-8")
    (template / ADDED).unlink()
    (template / REMOVED).write_text("RETIRED = True\n")
    # The lines nearest to the user's.
    pyproject, config = template / "pyproject.toml.jinja", template / "src/app/core/config.py"
    text = pyproject.read_text("utf-8")
    text = text.replace(version(), OLD_LIBRARY)
    pyproject.write_text(re.sub(r'~=[\d.]+(",\n    # Above:)', r"~=0.1\1", text), "utf-8")
    text = config.read_text("utf-8")
    config.write_text(text.replace("\n    # Above:", "    OLD: int = 0\n\n    # Above:"), "utf-8")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """History, then an older release made up from the working tree, then the working tree."""
    clone = tmp_path_factory.mktemp("repository")
    git("clone", "--quiet", "--no-tags", str(ROOT), str(clone), cwd=clone)
    for tag, commit in releases().items():
        git("tag", tag, commit, cwd=clone)

    git(f"--git-dir={clone / '.git'}", f"--work-tree={ROOT}", "add", "--all", cwd=ROOT)
    working_tree = git("write-tree", cwd=clone).strip()
    for tag in (OLDER, NEWEST):
        git("read-tree", "--reset", "-u", working_tree, cwd=clone)
        for stale in (clone / "template/vendor").iterdir():
            stale.unlink()
        build(clone / "template/vendor")
        if tag == OLDER:
            make_older(clone / "template")
        release(clone, tag)
    return clone


def release(clone: Path, tag: str) -> None:
    git("add", "--all", cwd=clone)
    git("commit", "--quiet", "--message", tag, cwd=clone)
    git("tag", tag, cwd=clone)


# ---- Projects

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def make(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A new, committed project of a release."""

    @cache
    def rendered(release: str, **answers: object) -> Path:
        project = tmp_path_factory.mktemp("rendered") / "billing-api"
        copier.run_copy(
            str(repository), project, data=answers, vcs_ref=release, defaults=True, quiet=True
        )
        git("init", "--quiet", cwd=project)
        commit(project)
        return project

    def make(release: str, **answers: object) -> Path:
        project = tmp_path_factory.mktemp("made") / "billing-api"
        return shutil.copytree(rendered(release, **answers), project)

    return make


def commit(project: Path) -> None:
    git("add", "--all", cwd=project)
    git("commit", "--quiet", "--message", "work", cwd=project)


def update(project: Path, **answers: object) -> None:
    copier.run_update(project, data=answers, defaults=True, overwrite=True, quiet=True)


def contents(project: Path) -> dict[str, str]:
    """All files but git's, without the version that the answers file records."""
    texts = {
        path.relative_to(project).as_posix(): path.read_bytes().decode(errors="backslashreplace")
        for path in project.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(project).parts
    }
    answers = texts[".copier-answers.yml"]
    return texts | {
        ".copier-answers.yml": re.sub(r"^_commit: .*\n", "", answers, flags=re.MULTILINE)
    }


def is_managed(name: str) -> bool:
    return not any(fnmatch(name, pattern) for pattern in KEPT + SEEDED)


def managed(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if is_managed(name)}


def theirs(texts: Mapping[str, str]) -> dict[str, str]:
    """The files that belong to the user: kept and seeded."""
    return {name: text for name, text in texts.items() if not is_managed(name)}


def different(some: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    return sorted(
        name for name in some.keys() | others.keys() if some.get(name) != others.get(name)
    )


def conflicts(project: Path) -> list[str]:
    unmerged = git("diff", "--name-only", "--diff-filter=U", cwd=project).split()
    marked = [name for name, text in contents(project).items() if "<<<<<<<" in text]
    rejected = [str(path) for path in project.rglob("*") if path.suffix in {".rej", ".orig"}]
    return unmerged + marked + rejected


# ---- What users do to a project


def edit(project: Path, *more: tuple[str, str, str]) -> None:
    """The first weeks of a typical project."""
    for name, text in NEW_FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, "utf-8")
    for name, old, new in [*EDITS, *more]:
        file = project / name
        # A project without the example has no file of it to edit.
        if file.exists():
            text = file.read_text("utf-8")
            assert old in text, f"{name} has no {old!r}"
            file.write_text(text.replace(old, new, 1) if old else text + new, "utf-8")
    for packages in (["--dev", "hypothesis"], ["sqlmodel"]):
        run(
            "uv",
            "add",
            "--quiet",
            "--frozen",
            *packages,
            cwd=project,
            variables={"UV_OFFLINE": "1"},
        )
    commit(project)


NEW_FILES = {
    ".github/workflows/deploy.yml": "name: Deploy\n",
    "project.just": "deploy:\n    ./deploy\n",
    "src/app/api/v1/teams.py": "from fastapi import APIRouter\n\nrouter = APIRouter()\n",
    "src/app/models/team.py": "class Team: ...\n",
    "src/migrations/versions/20260202_0000_000000000002_add_teams.py": "revision = 2\n",
    "tests/api/test_teams.py": "def test_teams() -> None: ...\n",
    "uv.lock": "version = 1\n",
}
# File, what to change in it, into what; an empty place is the end.
BELOW = "never touch the same lines.\n"
EDITS = [
    (".env.example", "", "\nPAYMENTS_KEY=\n"),
    (".gitignore", "", "/node_modules\n"),
    ("AGENTS.md", "", "- Amounts are integers of cents.\n"),
    ("CHANGELOG.md", "", "\n- Teams\n"),
    ("README.md", "", "\n## Teams\n"),
    ("justfile", "", "\n# Send the bills\nbill:\n    uv run python -m app.bill\n"),
    ("src/app/core/config.py", BELOW, f"{BELOW}    PAYMENTS_KEY: str | None = None\n"),
    ("src/app/models/user.py", "", "    nickname: Mapped[str | None]\n"),
    ("src/app/api/v1/users.py", "/{user_id}", "/{user_id}/profile"),
    ("tests/api/test_users.py", "", "\n# More tests.\n"),
]
# In 0.1.0, which nobody got, the description stood beside it: an update of both conflicts.
BUMP = ("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')


# ---- Updates


@pytest.mark.slow
@pytest.mark.parametrize("release", [OLDER, *RELEASES])
def test_an_untouched_project_becomes_like_a_fresh_one(make: Make, release: str) -> None:
    project, fresh = make(release), contents(make(NEWEST))
    before = contents(project)
    if release == OLDER:
        # Otherwise the tests here would show little.
        assert different(before, fresh) == sorted(before.keys() | fresh.keys())
    update(project)

    after = contents(project)
    assert different(managed(after), managed(fresh)) == []
    assert different(theirs(after), theirs(before)) == []
    assert f"_commit: {NEWEST}" in (project / ".copier-answers.yml").read_text()


@pytest.mark.slow
def test_typical_edits_and_an_update_give_the_same_as_an_update_and_typical_edits(
    make: Make,
) -> None:
    project, fresh = make(OLDER), make(NEWEST)
    edit(project, BUMP)
    edit(fresh, BUMP)
    before = contents(project)
    update(project)

    after = contents(project)
    assert conflicts(project) == []
    assert different(managed(after), managed(contents(fresh))) == []
    assert different(theirs(after), theirs(before)) == []


@pytest.mark.parametrize("release", RELEASES)
def test_typical_edits_survive_an_update_from_every_release(make: Make, release: str) -> None:
    project = make(release)
    untouched = contents(project)
    edit(project)
    edited = contents(project)
    update(project)

    after = contents(project)
    assert conflicts(project) == []
    for name in different(untouched, edited):
        added = set(edited[name].splitlines()) - set(untouched.get(name, "").splitlines())
        assert added <= set(after[name].splitlines()), name


@pytest.mark.slow
def test_an_update_to_the_same_version_changes_nothing(make: Make) -> None:
    project = make(NEWEST)
    edit(project)
    update(project)

    assert git("status", "--porcelain", "--ignored", cwd=project) == ""


@pytest.mark.slow
def test_what_was_deleted_stays_deleted(make: Make) -> None:
    project = make(OLDER)
    unwanted = sorted({*EXAMPLE, *MIGRATION[18], "README.md", "AGENTS.md", "src/app/project.toml"})
    for name in unwanted:
        (project / name).unlink()
    commit(project)
    update(project)

    assert conflicts(project) == []
    assert [name for name in unwanted if (project / name).exists()] == []


# ---- Another answer


def check_change(make: Make, before: dict[str, Any], after: dict[str, Any]) -> None:
    """An update with other answers gives what these answers would have given at first."""
    project = make(NEWEST, **before)
    # The slug stays: it is the name under which the project is installed.
    slug = tomllib.loads((project / "src/app/project.toml").read_text("utf-8"))["slug"]
    fresh = make(NEWEST, project_slug=slug, **after)
    edit(project, BUMP)
    edit(fresh, BUMP)
    own = theirs(contents(project))
    update(project, **after)

    texts = contents(project)
    assert conflicts(project) == []
    assert different(managed(texts), managed(contents(fresh))) == []
    assert different(theirs(texts), own) == []


@pytest.mark.slow
def test_all_answers_can_be_changed_by_one_update(make: Make) -> None:
    check_change(
        make,
        {"ci": "github", "example": True, "postgres_version": 18},
        {"ci": "gitlab", "example": False, "postgres_version": 17},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "before", "after"),
    [
        ("ci", "github", "gitlab"),
        ("ci", "gitlab", "none"),
        ("ci", "none", "github"),
        ("example", True, False),
        ("example", False, True),
        ("postgres_version", 18, 17),
        ("postgres_version", 17, 18),
        ("description", "One.", "{{ Another }}: 'one'."),
        ("project_name", "One", "Another"),
    ],
)
def test_each_answer_can_be_changed_by_an_update(
    make: Make, question: str, before: object, after: object
) -> None:
    check_change(make, {question: before}, {question: after})


@pytest.mark.slow
def test_every_ci_and_back_again_changes_nothing(make: Make) -> None:
    project = make(OLDER)
    edit(project)
    update(project)
    commit(project)
    first = contents(project)
    for ci in [*CI][1:] + [*CI][:1]:
        update(project, ci=ci)
        commit(project)

    assert different(contents(project), first) == []


# ---- Recopies


def test_a_recopy_of_an_untouched_project_changes_nothing(make: Make) -> None:
    project = make(NEWEST)
    copier.run_recopy(project, defaults=True, overwrite=True, quiet=True)

    assert git("status", "--porcelain", "--ignored", cwd=project) == ""


@pytest.mark.slow
def test_a_recopy_resets_managed_files_and_nothing_else(make: Make) -> None:
    project = make(NEWEST)
    fresh = contents(project)
    edit(project)
    before = contents(project)
    copier.run_recopy(project, defaults=True, overwrite=True, quiet=True)

    after = contents(project)
    assert different(after, {**before, **managed(fresh)}) == []


# ---- Around an update


@pytest.mark.parametrize("options", [[], ["--dev"]])
def test_uv_adds_below_what_the_template_manages(make: Make, options: list[str]) -> None:
    project = make(NEWEST)
    # First, in the middle and last of the alphabet: uv keeps a sorted list sorted.
    for package in ["aaa", "hypothesis", "zzz"]:
        run(
            "uv",
            "add",
            "--quiet",
            "--frozen",
            *options,
            package,
            cwd=project,
            variables={"UV_OFFLINE": "1"},
        )

    table = "dependency-groups" if options else "project"
    block = (project / "pyproject.toml").read_text().partition(f"[{table}]")[2].partition("\n]")[0]
    below = block.partition("# Below:")[2]
    assert re.findall(r'^    "(\w+)"', below, flags=re.MULTILINE) == ["aaa", "hypothesis", "zzz"]


@pytest.mark.slow
def test_after_an_update_the_commands_shown_lead_to_the_conflicts(make: Make) -> None:
    project = make(OLDER)
    justfile = project / "justfile"
    justfile.write_text(justfile.read_text().replace(MARK, "# Of our own.\n"))
    commit(project)
    printed = run(
        sys.executable,
        "-m",
        "copier",
        "update",
        "--defaults",
        cwd=project,
        variables={"NO_COLOR": "1"},
    ).stderr
    shown = commands(printed)
    outputs = [run(*command, cwd=project).stdout for command in shown if command[0] == "git"]

    assert "justfile" in conflicts(project)
    assert outputs
    assert [output for output in outputs if "justfile" not in output] == []
    assert ["uv", "run", "just", "check"] in shown
    assert "migrator" not in printed  # what concerns 0.1.0 alone


# ---- From 0.1.0, whose projects had the library as code of their own

OLD_REVISION = "src/migrations/versions/20260202_0000_000000000002_try_an_index.py"
OLD_FILES = {
    OLD_REVISION: """
\"\"\"try an index

Revision ID: 000000000002
Revises: 000000000001
\"\"\"

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from migrator.operations import create_index_concurrently, drop_index_concurrently

revision: str = "000000000002"
down_revision: str | Sequence[str] | None = "000000000001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    create_index_concurrently("ix_users_full_name", "users", ["full_name"])
    drop_index_concurrently("ix_users_full_name", "users")


def downgrade() -> None:
    pass
""",
    "src/migrations/backfills/lower_emails.py": """
import migrator.backfill

backfill = migrator.backfill.Backfill(
    "users", "email = lower(email)", where="email <> lower(email)"
)
""",
    "tests/backfills/__init__.py": "",
    "tests/backfills/test_lower_emails.py": """
from migrator.backfill import run
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.backfills.lower_emails import backfill


async def test_there_is_nothing_to_do(connection: AsyncConnection) -> None:
    assert await connection.run_sync(run, backfill) == 0
""",
}
# Lines that break nothing in a project that is linted, typed and tested.
OLD_EDITS = [
    *(edit for edit in EDITS if edit[0] in {".env.example", ".gitignore", "AGENTS.md"}),
    *(edit for edit in EDITS if edit[0] in {"README.md", "src/app/core/config.py"}),
    ("pyproject.toml", "", 'baseline = "000000000001"\n'),
]


@pytest.mark.slow
def test_a_project_with_the_library_as_code_of_its_own_moves_to_the_library(make: Make) -> None:
    project = Project(make("v0.1.0"))
    moved = sorted(managed(contents(project.path)).keys() - contents(make(NEWEST)).keys())
    for name, text in OLD_FILES.items():
        project.write(name, text)
    for name, old, new in OLD_EDITS:
        text = (project.path / name).read_text("utf-8")
        project.write(name, text.replace(old, new, 1) if old else text + new)
    for name in moved:
        text = (project.path / name).read_text("utf-8")
        project.write(name, f"{text}# Ours.\n")
    commit(project.path)
    before = git("rev-parse", "HEAD", cwd=project.path).strip()

    update = (sys.executable, "-m", "copier", "update", "--defaults")
    printed = run(*update, cwd=project.path, variables={"NO_COLOR": "1"}).stderr

    assert conflicts(project.path) == []
    assert [name for name in moved if (project.path / name).exists()] == []
    assert "[tool.slipway]" in (project.path / "pyproject.toml").read_text("utf-8")

    # The commands of the message show each edit that is lost, and rewrite the old imports.
    shown = [line.strip() for line in printed.splitlines() if line.startswith("  git ")]
    outputs = [run("sh", "-c", line, cwd=project.path).stdout for line in shown]
    assert [name for name in moved if not any(f"+++ b/{name}\n" in out for out in outputs)] == []
    texts = contents(project.path)
    assert [name for name in OLD_FILES if "migrator" in texts[name]] == []

    project.just("format")  # the import that was rewritten stands in another group now
    commit(project.path)
    project.just("lint")
    project.uv_run("slipway", "guard", "--base", before)
    project.just("migrate-up")
    project.just("backfill", "lower_emails")
    project.just("test", "tests/backfills", "tests/test_migrations.py", "tests/core/health")


def test_the_update_and_the_library_show_the_same_command_for_old_imports() -> None:
    assert renamed.REWRITE in (ROOT / "copier.yml").read_text("utf-8")
