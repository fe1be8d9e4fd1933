"""The version that is running, on the schema of a branch: what passes, and what is caught."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from packages.slipway.tests.processes import environment, git, one_line, run, until
from slipway import devdb
from tests.project import Project

pytestmark = pytest.mark.slow

REVISION = '''
"""{name}"""

import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = "{before}"


def upgrade() -> None:
    {code}


def downgrade() -> None:
    pass
'''


SLEEPING = "SELECT FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND state = 'active'"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with devdb.temporary_server() as url:
        yield url


@pytest.fixture(scope="module")
def service(installed: Callable[..., Project]) -> Project:
    """What is on the main branch, and runs; with few tests, which take most of the time."""
    project = installed("overlapped-api")
    for path in (project.path / "tests").iterdir():
        if path.name not in {"__init__.py", "api", "conftest.py"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    git("add", "--all", cwd=project.path)
    git("commit", "--quiet", "--message", "with a few tests", cwd=project.path)
    return project


@pytest.fixture
def branch(service: Project) -> Iterator[Project]:
    """A branch of it."""
    start = git("rev-parse", "HEAD", cwd=service.path).strip()
    git("update-ref", "refs/remotes/origin/main", start, cwd=service.path)
    yield service
    git("reset", "--quiet", "--hard", start, cwd=service.path)
    service.restore()


def merge(project: Project) -> None:
    """Let what is changed be on the main branch, and run."""
    git("add", "--all", cwd=project.path)
    git("commit", "--quiet", "--message", "merged", cwd=project.path)
    git("update-ref", "refs/remotes/origin/main", "HEAD", cwd=project.path)


def add(project: Project, **revisions: str) -> None:
    """Add revisions with these names and this code to the end of the history."""
    before = "000000000001"
    for name, code in revisions.items():
        text = REVISION.format(name=name, before=before, code=code)
        project.write(f"src/migrations/versions/20260202_{name}.py", text)
        before = name


def overlap(project: Project, server: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ("python", "-m", "slipway", "overlap", "--server", server, *options)
    return project.uv_run(*command, check=False)


def start(project: Project, server: str, stderr: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [".venv/bin/python", "-m", "slipway", "overlap", "--server", server],
        cwd=project.path,
        env=environment({}),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )


def found(project: Project, server: str, *base: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The whole report, and its findings."""
    done = overlap(project, server, "--format", "json", *base)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    findings: list[dict[str, Any]] = report["findings"]
    assert done.returncode == bool(findings)
    return report, findings


def databases(server: str) -> set[str]:
    with psycopg.connect(server) as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    return {str(name) for (name,) in rows}


def worktrees(project: Project) -> int:
    return len(git("worktree", "list", cwd=project.path).splitlines())


def test_an_additive_change_passes_and_nothing_is_left(branch: Project, server: str) -> None:
    before = databases(server)
    # Another worktree of the developer's, on a disk that is not there now.
    elsewhere = branch.path.parent / "elsewhere"
    git("worktree", "add", "--quiet", "--detach", str(elsewhere), cwd=branch.path)
    shutil.rmtree(elsewhere)
    add(
        branch,
        column='op.add_column("users", sa.Column("nickname", sa.Text()))',
        table='op.create_table("teams", sa.Column("id", sa.Integer(), primary_key=True))',
        index='op.create_index("ix_posts_title", "posts", ["title"])',
    )

    report, findings = found(branch, server, "origin/main")

    assert findings == []
    assert report["tests"] > 0
    assert report["untried_tables"] == []
    assert databases(server) == before
    assert worktrees(branch) == 2
    git("worktree", "prune", cwd=branch.path)


def test_changes_that_break_the_running_version_are_caught_at_their_revisions(
    branch: Project, server: str
) -> None:
    add(
        branch,
        renamed='op.alter_column("users", "full_name", new_column_name="name")',
        undefaulted='op.alter_column("posts", "status", server_default=None)',
        narrowed='op.alter_column("posts", "title", type_=sa.String(150))',
        widened='op.alter_column("posts", "title", type_=sa.Text())',
    )

    report, findings = found(branch, server)

    caught = {(finding["rule"], finding["revision"]) for finding in findings}
    assert caught == {
        ("old-version-fails", "renamed"),
        ("old-version-fails", "undefaulted"),
        ("old-version-fails", "narrowed"),
        ("stale-plan", "narrowed"),
        ("stale-plan", "widened"),
        ("old-test-fails", "widened"),  # the newest: tests see what all of them made
    }
    assert any("full_name" in error for error in report["failed_tests"].values())
    for finding in findings:
        assert Path(finding["file"]).name == f"20260202_{finding['revision']}.py"
        assert finding["sql"] or finding["rule"] == "old-test-fails"


def test_a_project_may_let_a_stale_plan_pass(branch: Project, server: str) -> None:
    configuration = (branch.path / "pyproject.toml").read_text()
    severities = '\n[tool.slipway.severities]\nstale-plan = "warning"\n'
    branch.write("pyproject.toml", configuration + severities)
    add(branch, widened='op.alter_column("posts", "title", type_=sa.Text())')

    done = overlap(branch, server, "--format", "json")

    assert done.returncode == 0, done.stdout
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["rule"], finding["severity"]) == ("stale-plan", "warning")


TEAMS = """
import enum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.base import Base


class Kind(enum.Enum):
    SMALL = "small"


class Team(Base):
    __tablename__ = "teams"
    __table_args__ = (sa.UniqueConstraint("position", deferrable=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int]
    code: Mapped[str] = mapped_column(server_default="")


class Group(Base):
    __tablename__ = "groups"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Kind] = mapped_column(sa.Enum(Kind, native_enum=False))
"""
MADE = """op.create_table("teams",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), server_default="", nullable=False),
        sa.UniqueConstraint("position", deferrable=True),
    )
    op.create_table("groups",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.String(5), nullable=False),
    )"""


def test_a_check_of_values_that_were_made_up_is_a_warning(branch: Project, server: str) -> None:
    named = "ck_users_full_name"
    add(
        branch,
        check=f"""op.execute("ALTER TABLE users ADD CONSTRAINT {named} "
        "CHECK (full_name LIKE '%@%') NOT VALID")""",
        proof=f'op.execute("ALTER TABLE users VALIDATE CONSTRAINT {named}")',
    )

    done = overlap(branch, server, "--format", "json")

    findings = json.loads(done.stdout)["findings"]
    assert {(f["rule"], f["revision"]) for f in findings} - {("old-test-fails", "proof")} == {
        ("narrower-values", "check")
    }


def test_a_service_that_dies_is_no_success(branch: Project, server: str) -> None:
    # Not in the database of the tests, which is empty.
    seconds = "CASE WHEN EXISTS (SELECT FROM users) THEN 10 ELSE 0 END"
    add(branch, slow=f'op.execute("SELECT pg_sleep({seconds})")')
    process = start(branch, server, subprocess.PIPE)

    def service() -> list[psutil.Process]:
        # Without the command of a child that has just ended.
        every = psutil.process_iter(["ppid", "cmdline"])
        return [
            child
            for child in every
            if child.info["ppid"] == process.pid
            and "slipway.overlap.service" in " ".join(child.info["cmdline"] or ())
        ]

    def is_migrated() -> bool:
        with psycopg.connect(server) as connection:
            return bool(connection.execute(SLEEPING).fetchall())

    until(lambda: service() and is_migrated())
    service()[0].kill()
    _, said = process.communicate(timeout=60)

    assert process.returncode == 3
    assert "could not be served" in one_line(said)


def test_tables_of_any_form_are_served_or_named(branch: Project, server: str) -> None:
    branch.write("src/app/models/team.py", TEAMS)
    add(branch, made=MADE)
    merge(branch)
    add(branch, made=MADE, undefaulted='op.alter_column("teams", "code", server_default=None)')

    report, findings = found(branch, server)

    [finding] = [finding for finding in findings if finding["rule"] == "old-version-fails"]
    assert "teams: insert" in finding["message"]
    # Its types do not take the rows that its schema does.
    assert report["untried_tables"] == ["groups"]


def test_a_column_that_new_rows_need_is_caught_by_requests_and_by_tests(
    branch: Project, server: str
) -> None:
    branch.write("tests/test_broken.py", "def test_broken() -> None:\n    assert not 1\n")
    merge(branch)
    add(
        branch,
        required='op.add_column("users", sa.Column("code", sa.Text(), server_default="",'
        ' nullable=False)); op.alter_column("users", "code", server_default=None)',
        impossible='op.add_column("posts", sa.Column("slug", sa.Text(), nullable=False))',
    )

    report, findings = found(branch, server)

    caught = {(finding["rule"], finding["revision"]) for finding in findings}
    assert caught == {
        ("old-version-fails", "required"),
        ("upgrade-fails", "impossible"),
        ("old-test-fails", "impossible"),
    }
    assert any("code" in error for error in report["failed_tests"].values())
    # It fails without the upgrade too.
    assert "tests.test_broken.test_broken" not in report["failed_tests"]


def test_tests_that_cannot_be_given_a_schema_are_said_not_to_run(
    branch: Project, server: str
) -> None:
    branch.edit("tests/conftest.py", "TEST_DATABASE_TEMPLATE", "OF_ANOTHER_NAME")
    merge(branch)
    add(branch, column='op.add_column("users", sa.Column("nickname", sa.Text()))')

    done = overlap(branch, server)

    assert done.returncode == 0
    assert "TEST_DATABASE_TEMPLATE" in done.stdout


def test_without_new_revisions_nothing_is_tried(branch: Project) -> None:
    done = overlap(branch, "postgresql://nobody@nowhere.invalid/none")

    assert done.returncode == 0
    assert "Nothing to try" in done.stdout


def test_it_cleans_up_when_it_is_ended_by_whoever_presses_ctrl_c_again_and_again(
    branch: Project, server: str
) -> None:
    before = databases(server)
    add(branch, column='op.add_column("users", sa.Column("nickname", sa.Text()))')
    process = start(branch, server, subprocess.DEVNULL)
    until(lambda: databases(server) - before)
    assert worktrees(branch) == 2

    def has_ended() -> bool:
        process.send_signal(signal.SIGINT)  # again and again, if need be
        return process.poll() is not None

    until(has_ended)

    assert process.returncode == 130
    assert databases(server) == before
    assert worktrees(branch) == 1


def test_a_revision_that_is_no_python_is_not_passed_over(branch: Project, server: str) -> None:
    branch.write("src/migrations/versions/20260202_broken.py", "def upgrade(")

    done = overlap(branch, server)

    assert done.returncode == 3
    assert "20260202_broken.py" in one_line(done.stderr)


def test_what_it_cannot_do_is_one_sentence(branch: Project, server: str, tmp_path: Path) -> None:
    add(branch, column='op.add_column("users", sa.Column("nickname", sa.Text()))')

    unknown = overlap(branch, server, "no-such-branch")
    nowhere = overlap(branch, "postgresql://nobody@127.0.0.1:1/none")
    git("clone", "--quiet", "--depth", "1", f"file://{branch.path}", str(tmp_path), cwd=tmp_path)
    shutil.rmtree(tmp_path / ".git")
    python = str(branch.path / ".venv/bin/python")
    command = [python, "-m", "slipway", "overlap", "--server", server]
    without = run(*command, cwd=tmp_path, check=False)

    for done, word in [
        (unknown, "no-such-branch"),
        (nowhere, "127.0.0.1"),
        (without, "no git repository"),
    ]:
        assert done.returncode == 3
        assert word in one_line(done.stderr)
