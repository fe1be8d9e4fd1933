"""A project with a long history that begins to use the guard: stock `alembic init`, sync driver."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from packages.slipway.tests.processes import environment, git

REVISION = '''\
"""{message}

Revision ID: {revision}
Revises: {before}

"""
from typing import Sequence, Union

from alembic import op
import sqlalchemy as sa
{module}

# revision identifiers, used by Alembic.
revision: str = {revision!r}
down_revision: Union[str, Sequence[str], None] = {before!r}
branch_labels: Union[str, Sequence[str], None] = None
depends_on: Union[str, Sequence[str], None] = None


def upgrade() -> None:
    """Upgrade schema."""
    {upgrade}


def downgrade() -> None:
    """Downgrade schema."""
    {downgrade}
'''
# What histories have: all of it would be found today.
PAST = (
    ("op.create_table('t{n}', sa.Column('id', sa.Integer(), primary_key=True))", ""),
    ("op.create_index('ix_{n}', 't0', ['id'])", ""),
    ("op.drop_column('t0', 'c{n}')", ""),
    ("op.get_bind().execute(sa.text('SELECT id FROM t0')).all()", ""),
    ("op.execute(Plan.everything())", "from shop.models import Plan"),
    ("raise RuntimeError('no database')", "import requests_that_is_no_longer_installed"),
)


class Adopter:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alembic("init", "migrations")
        ini = folder / "alembic.ini"
        url = "sqlalchemy.url = postgresql+psycopg://nowhere/shop"
        lines = ini.read_text().splitlines()
        ini.write_text("\n".join(url if "sqlalchemy.url" in line else line for line in lines))
        self.newest: str | None = None

    def alembic(self, *arguments: str) -> None:
        self.run("alembic", *arguments, check=True)

    def run(self, module: str, *arguments: str, check: bool = False) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=environment({}),
            capture_output=True,
            text=True,
            check=check,
        )
        return done.returncode, done.stdout, done.stderr

    def add(self, revision: str, upgrade: str, module: str = "") -> None:
        text = REVISION.format(
            message=revision,
            revision=revision,
            before=self.newest,
            module=module,
            upgrade=upgrade,
            downgrade="op.execute('SELECT 1')",
        )
        (self.folder / f"migrations/versions/{revision}_.py").write_text(text)
        self.newest = revision

    def set_baseline(self, *revisions: str) -> None:
        with (self.folder / "alembic.ini").open("a") as ini:
            ini.write("\n[slipway]\nbaseline =\n    " + "\n    ".join(revisions) + "\n")

    def guard(self, *arguments: str) -> tuple[int, list[tuple[str, str]]]:
        code, printed, errors = self.run("slipway", "guard", "--format", "json", *arguments)
        assert printed, errors
        found = json.loads(printed)["findings"]
        return code, [(finding["revision"], finding["rule"]) for finding in found]


@pytest.fixture
def adopter(tmp_path: Path) -> Adopter:
    adopter = Adopter(tmp_path)
    for n in range(30):
        upgrade, module = PAST[n % len(PAST)]
        adopter.add(f"{n:012x}", upgrade.format(n=n), module)
    return adopter


def test_a_baseline_makes_a_long_history_quiet(adopter: Adopter) -> None:
    code, found = adopter.guard()
    assert code == 1
    assert len({revision for revision, _ in found}) == 30
    adopter.set_baseline(str(adopter.newest))

    assert adopter.guard() == adopter.guard("--all") == (0, [])
    adopter.add("new", "op.create_index('ix', 't0', ['id'])")
    expected = (1, [("new", "index-not-concurrent")])
    assert adopter.guard() == adopter.guard("--all") == expected


def test_a_baseline_may_be_several_heads(adopter: Adopter) -> None:
    one = str(adopter.newest)
    adopter.newest = f"{28:012x}"
    adopter.add("other", "op.drop_table('t6')")
    adopter.set_baseline(one, "other")
    adopter.add("new", "op.drop_table('t12')")

    _, found = adopter.guard("--all")
    assert {found_ for found_ in found if found_[1] != "multiple-heads"} == {("new", "drop-table")}


def test_with_git_only_the_branch_is_judged(adopter: Adopter) -> None:
    git("init", "--quiet", "--initial-branch=main", cwd=adopter.folder)
    git("add", "--all", cwd=adopter.folder)
    git("commit", "--quiet", "--message", "x", cwd=adopter.folder)
    git("switch", "--quiet", "--create", "feature", cwd=adopter.folder)

    assert adopter.guard() == (0, [])
    adopter.add("new", "op.create_index('ix', 't0', ['id'])")
    assert adopter.guard() == (1, [("new", "index-not-concurrent")])
    adopter.set_baseline(f"{29:012x}")
    assert adopter.guard() == adopter.guard("--all") == (1, [("new", "index-not-concurrent")])
