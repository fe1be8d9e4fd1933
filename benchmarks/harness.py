"""What the benchmarks share: rounds, facts about the machine, and sections of README.md."""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

from tests.processes import run
from tests.project import Project

ROOT = Path(__file__).parents[1]
README = ROOT / "benchmarks/README.md"
# Versions that decide what is measured.
PACKAGES = ["alembic", "asyncpg", "fastapi", "psycopg", "sqlalchemy", "sqlmodel", "uvicorn"]

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


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, its first column of words, the others of numbers."""
    line = "|---" + "|--:" * (len(header) - 1) + "|"
    return "\n".join([f"| {' | '.join(header)} |", line, *(f"| {' | '.join(r)} |" for r in rows)])


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


def write_section(name: str, text: str) -> None:
    """Put `text` in the place of the section of this name in README.md, or at the end."""
    begin, end = f"<!-- {name}: written by `just bench {name}` -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}\n"
    page = README.read_text(encoding="utf-8")
    before, found, rest = page.partition(begin)
    if found:
        page = before + section + rest.partition(f"{end}\n")[2]
    else:
        page = f"{page.rstrip()}\n\n{section}"
    README.write_text(page, encoding="utf-8")
