"""What a rehearsal costs, by the number of tables and of rows in each."""

import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import devdb
from benchmarks.harness import ROOT, here, ratio, rounds, seconds, table
from tests.migrator.history import CONFIGURATION, ENV
from tests.processes import run

TABLES, ROWS = (1, 10, 100), (1_000, 10_000, 100_000)
FEW_TABLES, FEW_ROWS = 1, 1_000

INTRODUCTION = """\
## Rehearsal

`python -m migrator rehearse` of one revision that adds a column with an index to one table, in a \
project of so many tables with so many rows in each; the whole command, as a process of its own, \
on a server that runs. Seconds are medians of {rounds} interleaved rounds."""

BEFORE = """\
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for number in range({tables}):
        op.create_table(
            f"t{{number}}",
            sa.Column("id", sa.BigInteger, primary_key=True),
            sa.Column("name", sa.String(100), nullable=False),
            sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now()),
        )


def downgrade() -> None:
    for number in range({tables}):
        op.drop_table(f"t{{number}}")
"""
REHEARSED = """\
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("t0", sa.Column("note", sa.Text))
    op.create_index("ix_t0_note", "t0", ["note"])


def downgrade() -> None:
    op.drop_index("ix_t0_note", "t0")
    op.drop_column("t0", "note")
"""


def measure(quick: bool) -> str:
    count = 1 if quick else 3
    sizes = [(tables, FEW_ROWS) for tables in TABLES] + [(FEW_TABLES, rows) for rows in ROWS[1:]]
    if quick:
        sizes = sizes[:2]
    with TemporaryDirectory() as folder, devdb.temporary_server() as server:
        projects = {tables: _project(Path(folder), tables) for tables, _ in sizes}
        found = rounds(
            {
                (tables, rows): partial(seconds, partial(_rehearse, projects[tables], server, rows))
                for tables, rows in sizes
            },
            count,
        )
    first = found[FEW_TABLES, FEW_ROWS]
    rows = [
        [str(tables), f"{rows:,}", f"{median(times):.1f}", f"{ratio(times, first):.1f}"]
        for (tables, rows), times in found.items()
    ]
    header = ["tables", "rows in each", "seconds", "times the first"]
    return "\n\n".join([INTRODUCTION.format(rounds=count), here(), table(header, rows)])


def _project(folder: Path, tables: int) -> Path:
    versions = folder / str(tables) / "migrations/versions"
    versions.mkdir(parents=True)
    (versions / "0001.py").write_text(BEFORE.format(tables=tables))
    (versions / "0002.py").write_text(REHEARSED)
    (versions.parent / "env.py").write_text(ENV.replace('"URL"', '"DATABASE_URL"'))
    (folder / str(tables) / "pyproject.toml").write_text(CONFIGURATION)
    return folder / str(tables)


def _rehearse(project: Path, server: str, rows: int) -> None:
    command = (sys.executable, "-m", "migrator", "rehearse", "--since", "0001")
    options = ("--server", server, "--rows", str(rows), "--format", "json")
    variables = {"PYTHONPATH": str(ROOT / "template/src")}
    done = run(*command, *options, cwd=project, check=False, variables=variables)
    # A finding is an answer; that the index locks out writers is one.
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
