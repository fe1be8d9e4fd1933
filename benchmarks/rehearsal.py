"""What a rehearsal costs, by the number of tables and of rows in each."""

from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import (
    Revision,
    here,
    ratio,
    rounds,
    slipway,
    table,
    write_revisions,
)
from packages.slipway.tests.history import CONFIGURATION, ENV
from slipway import devdb

TABLES, ROWS = (1, 10, 100), (1_000, 10_000, 100_000)
FEW_TABLES, FEW_ROWS = 1, 1_000

INTRODUCTION = """\
## Rehearsal

`slipway rehearse` of one revision that adds a column with an index to one table, in a \
project of so many tables with so many rows in each; the whole command, as a separate process, \
on a server that runs. Seconds are medians of {rounds} interleaved rounds."""

CREATE = """\
for number in range({tables}):
    op.create_table(
        f"t{{number}}",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    )
"""
DROP = """\
for number in range({tables}):
    op.drop_table(f"t{{number}}")
"""
REHEARSED = Revision(
    """\
op.add_column("t0", sa.Column("note", sa.Text))
op.create_index("ix_t0_note", "t0", ["note"])
""",
    """\
op.drop_index("ix_t0_note", "t0")
op.drop_column("t0", "note")
""",
)


def measure(quick: bool) -> str:
    count = 1 if quick else 3
    sizes = [(tables, FEW_ROWS) for tables in TABLES] + [(FEW_TABLES, rows) for rows in ROWS[1:]]
    if quick:
        sizes = sizes[:2]
    with TemporaryDirectory() as folder, devdb.temporary_server() as server:
        projects = {tables: _project(Path(folder), tables) for tables, _ in sizes}
        found = rounds(
            {
                (tables, rows): partial(slipway, projects[tables], *_rehearsal(server, rows))
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
    project = folder / str(tables)
    write_revisions(project / "migrations/versions", [_before(tables), REHEARSED])
    (project / "migrations/env.py").write_text(ENV.replace('"URL"', '"DATABASE_URL"'))
    (project / "pyproject.toml").write_text(CONFIGURATION)
    return project


def _before(tables: int) -> Revision:
    return Revision(CREATE.format(tables=tables), DROP.format(tables=tables))


def _rehearsal(server: str, rows: int) -> list[str]:
    options = ["--server", server, "--rows", str(rows), "--format", "json"]
    return ["rehearse", "--since", "0001", *options]
