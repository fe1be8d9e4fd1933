"""How long the guard takes: `uv run [--with squawk-cli] python benchmarks/guard.py`.

Times differ between machines and hours; the ratios within one run are what counts. Each command is
a fresh process, and its best time of several runs is taken.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIGURATION = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
REVISION = """\
import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = {before!r}


def upgrade() -> None:
    op.create_table(
        "t{number}",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    )
    op.create_index("ix_t{number}_name", "t{number}", ["name"])
    op.add_column("t{before_number}", sa.Column("x{number}", sa.Text))
    op.drop_column("t{before_number}", "name")


def downgrade() -> None:
    op.drop_table("t{number}")
"""


def seconds(folder: Path, *command: str, runs: int = 5) -> float:
    """The best wall-clock time of a command."""
    times = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "template/src")}
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(  # noqa: S603
            command, cwd=folder, env=environment, capture_output=True, check=False
        )
        times.append(time.perf_counter() - began)
    return min(times)


def project(folder: Path, size: int) -> Path:
    versions = folder / str(size) / "migrations/versions"
    versions.mkdir(parents=True)
    (folder / str(size) / "pyproject.toml").write_text(CONFIGURATION)
    for number in range(1, size + 1):
        before = f"{number - 1:04}" if number > 1 else None
        code = REVISION.format(number=number, before=before, before_number=max(number - 1, 1))
        (versions / f"{number:04}.py").write_text(code)
    return folder / str(size)


def main() -> None:
    python = sys.executable
    guard = (python, "-m", "migrator", "guard", "--all", "--format", "json")
    with tempfile.TemporaryDirectory() as temporary:
        sizes = (1, 100, 1000, 2000)
        one, hundred, thousand, most = (project(Path(temporary), size) for size in sizes)
        alembic = seconds(one, python, "-c", "import alembic.command")
        rows = [
            ("`import alembic.command`", alembic),
            ("guard, 1 revision", seconds(one, *guard)),
            ("guard, 100 revisions", seconds(hundred, *guard, runs=3)),
            ("guard, 1000 revisions", seconds(thousand, *guard, runs=3)),
            ("guard, 2000 revisions", seconds(most, *guard, runs=3)),
        ]
        newest = str(thousand / "migrations/versions/1000.py")
        rows.append(("guard, the newest of 1000", seconds(thousand, *guard[:4], newest, runs=3)))
        if squawk := shutil.which("squawk", path=f"{Path(python).parent}:{os.environ['PATH']}"):
            rows.append(("guard, 1 revision, with squawk", seconds(one, *guard, "--squawk")))
            rows.append(("squawk alone, the same SQL", squawk_alone(one, squawk)))
    print("| command, each a fresh process | seconds | in imports of Alembic |")
    print("|---|---|---|")
    for name, taken in rows:
        print(f"| {name} | {taken:.2f} | {taken / alembic:.1f} |")
    once, ten, twenty = (taken - rows[1][1] for _, taken in rows[2:5])
    print(
        f"\n1000 revisions take {ten / once:.1f} times what 100 take, start-up aside (10: linear), "
        f"2000 {twenty / once:.1f} times (20)."
    )


def squawk_alone(folder: Path, program: str) -> float:
    """squawk on what Alembic writes for the same revision."""
    (folder / "migrations/env.py").write_text(
        "from alembic import context\n"
        "context.configure(url='postgresql+asyncpg://', literal_binds=True)\n"
        "with context.begin_transaction():\n"
        "    context.run_migrations()\n"
    )
    command = [sys.executable, "-m", "alembic", "upgrade", "head", "--sql"]
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "all.sql").write_text(done.stdout)
    return seconds(folder, program, "all.sql")


if __name__ == "__main__":
    main()
