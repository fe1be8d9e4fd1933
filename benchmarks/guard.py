"""What the guard costs, in imports of Alembic, and how that grows with the history."""

import shutil
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import (
    Revision,
    difference,
    here,
    ratio,
    rounds,
    seconds,
    slipway,
    table,
    write_revisions,
)
from packages.slipway.tests.history import CONFIGURATION
from packages.slipway.tests.processes import run

SIZES = (1, 100, 1000)
ALEMBIC = "`import alembic.command`"
GUARD = ("guard", "--format", "json")

INTRODUCTION = """\
## Guard

`slipway guard` as a separate process, over histories whose revisions each create a \
table with an index, add a column to the table before and drop another; no database is involved. \
Medians of {rounds} interleaved rounds."""

UPGRADE = """\
op.create_table(
    "t{number}",
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now()),
)
op.create_index("ix_t{number}_name", "t{number}", ["name"])
op.add_column("t{before}", sa.Column("x{number}", sa.Text))
op.drop_column("t{before}", "name")
"""


def measure(quick: bool) -> str:
    count, sizes = (1, SIZES[:2]) if quick else (5, SIZES)
    with TemporaryDirectory() as folder:
        projects = {size: _project(Path(folder) / str(size), size) for size in sizes}
        most = sizes[-1]
        newest = str(projects[most] / f"migrations/versions/{most:04}.py")
        guarded = {
            f"all of {size:,} revisions": partial(slipway, project, *GUARD, "--all")
            for size, project in projects.items()
        }
        first, *_, last = guarded
        guarded[f"the newest of {most:,} revisions"] = partial(
            slipway, projects[most], *GUARD, newest
        )
        if shutil.which("squawk", path=str(Path(sys.executable).parent)):
            squawk = (*GUARD, "--all", "--squawk")
            guarded[f"{first}, with squawk"] = partial(slipway, projects[1], *squawk)
        found = rounds({ALEMBIC: partial(_import, projects[1]), **guarded}, count)
    rows = [
        [name, f"{median(times):.2f}", f"{ratio(times, found[ALEMBIC]):.1f}"]
        for name, times in found.items()
    ]
    each = difference(found[last], found[first]) / (most - 1)
    return "\n\n".join(
        [
            INTRODUCTION.format(rounds=count),
            here(),
            table(["", "s", "times the import"], rows),
            f"Each revision of {most:,} takes {1000 * each:.1f} ms, start-up aside.",
        ]
    )


def _project(folder: Path, size: int) -> Path:
    write_revisions(
        folder / "migrations/versions",
        (
            Revision(UPGRADE.format(number=n, before=max(n - 1, 1)), f'op.drop_table("t{n}")')
            for n in range(1, size + 1)
        ),
    )
    (folder / "pyproject.toml").write_text(CONFIGURATION)
    return folder


def _import(project: Path) -> float:
    return seconds(partial(run, sys.executable, "-c", "import alembic.command", cwd=project))
