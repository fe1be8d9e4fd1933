"""What a project is told that still imports the library by the name that it had before."""

import subprocess
import sys
from pathlib import Path

import pytest

from packages.slipway.tests.processes import environment, git
from packages.slipway.tests.rows import ROOT
from slipway.heads import read_revisions
from slipway.project.renamed import REWRITE

REVISION = """\
from alembic import op
{imported}

revision = "one"
down_revision = None


def upgrade():
    op.execute("SELECT 1")
"""


def write(folder: Path, imported: str) -> Path:
    folder.joinpath("migrations/versions").mkdir(parents=True)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (folder / "migrations/env.py").write_text(
        "from slipway.env import run\n\nrun(None, url='postgresql+asyncpg://h/d')\n"
    )
    file = folder / "migrations/versions/one.py"
    file.write_text(REVISION.format(imported=imported))
    return file


def alembic(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=folder,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("imported", "is_old"),
    [
        ("from migrator.operations import validate_constraint", True),
        ("import migrator", True),
        ("import missing_module_of_the_project", False),
    ],
)
def test_alembic_and_the_service_are_told_what_rewrites_old_imports(
    tmp_path: Path, imported: str, is_old: bool
) -> None:
    write(tmp_path, imported)

    done = alembic(tmp_path, "upgrade", "head", "--sql")
    assert done.returncode != 0
    assert "ModuleNotFoundError" in done.stderr
    assert (REWRITE in done.stderr) == is_old

    with pytest.raises(ModuleNotFoundError) as missing:
        read_revisions(tmp_path / "migrations")
    notes = "".join(getattr(missing.value, "__notes__", []))
    assert (REWRITE in notes) == is_old


def test_the_command_rewrites_imports_and_nothing_else(tmp_path: Path) -> None:
    file = write(tmp_path, "from migrator.operations import validate_constraint as migrator")
    other = tmp_path / "src/x.py"
    other.parent.mkdir()
    other.write_text(
        "import migrator.operations\n\nmigrator.operations.x()\nname = 'the migrator'\n"
    )
    file = file.rename(tmp_path / "src/one.py")
    git("init", "--quiet", cwd=tmp_path)
    git("add", "--all", cwd=tmp_path)

    subprocess.run(["sh", "-c", REWRITE], cwd=tmp_path, check=True)

    assert "from slipway.operations import validate_constraint as migrator" in file.read_text()
    assert other.read_text() == (
        "import slipway.operations\n\nslipway.operations.x()\nname = 'the migrator'\n"
    )


def test_the_template_prints_the_same_command() -> None:
    assert REWRITE in (ROOT / "copier.yml").read_text()
