"""What the images cost, beside a minimal one that runs the same code on the same packages."""

import json
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile, TemporaryDirectory
from uuid import uuid4

from benchmarks.harness import machine, ratio, rendered, rounds, table
from packages.slipway.tests.processes import run, until
from tests.containers.engine import Postgres, built, docker, postgres, unique_name
from tests.project import Project, status

BASE = "python:3.14-slim"
MINIMAL = f"""\
FROM {BASE}
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --editable .
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0"]
"""

INTRODUCTION = """\
# What the images cost

The `web` image of a default project, beside a single-stage image that installs the same versions \
of the same packages with pip and runs the same code, as root. *Ready* is `/health/ready`, which \
reads the database and finds it migrated; the database runs already. Medians of {rounds} \
interleaved rounds."""


@dataclass(frozen=True)
class Result:
    size: int
    first: float
    nothing: float
    code: float
    pushed: int
    dependency: float
    alive: float
    ready: float


ROWS: dict[str, Callable[[Result], float]] = {
    "image, MB": lambda result: result.size / 1e6,
    "first build, no layer and no package cached, s": lambda result: result.first,
    "again, nothing changed, s": lambda result: result.nothing,
    "again, code changed, s": lambda result: result.code,
    "layers that a change of code makes new, MB": lambda result: result.pushed / 1e6,
    "again, one more dependency, s": lambda result: result.dependency,
    "from `docker run` to the first answer, s": lambda result: result.alive,
    "from `docker run` to ready, s": lambda result: result.ready,
}


def measure(quick: bool) -> str:
    count = 1 if quick else 3
    with rendered() as project, TemporaryDirectory() as folder, postgres() as server:
        url = server.create_database()
        with built(project.path, "migrate") as image:
            migrated = server.run(image, DATABASE_URL=url)
        if migrated.returncode:
            raise SystemExit(migrated.stderr)
        minimal = _minimal(project, Path(folder) / "minimal")
        found = rounds(
            {path: partial(_measure, path, server, url) for path in (project.path, minimal)},
            count,
        )
        ours, others = found.values()
        facts = machine(project)
    rows = [_row(name, cell, ours, others) for name, cell in ROWS.items()]
    base = json.loads(docker("image", "inspect", BASE).stdout)[0]
    share = f"The base is {base['Size'] / 1e6:.1f} MB of each. {_provenance(base)}"
    header = ["", "web", "minimal", "times minimal"]
    return "\n\n".join([INTRODUCTION.format(rounds=count), facts, table(header, rows), share])


def _row(
    name: str, cell: Callable[[Result], float], ours: Sequence[Result], others: Sequence[Result]
) -> list[str]:
    these, those = [cell(result) for result in ours], [cell(result) for result in others]
    return [name, f"{median(these):.1f}", f"{median(those):.1f}", f"{ratio(these, those):.2f}"]


def _provenance(base: dict[str, dict[str, list[str]]]) -> str:
    if any(variable.startswith("PYTHON_VERSION=") for variable in base["Config"]["Env"]):
        return f"It is the public {BASE}."
    return (
        f"It is a stand-in for {BASE}, made on this machine, whose size is not that of the public "
        "image: compare the columns, and quote no size."
    )


def _minimal(project: Project, folder: Path) -> Path:
    """The same project with the other Dockerfile."""
    files = ("--exclude=.venv", "--exclude=.git")
    folder.mkdir()
    archive = f"{folder}.tar"
    run("tar", "--create", f"--file={archive}", *files, ".", cwd=project.path)
    run("tar", "--extract", f"--file={archive}", cwd=folder)
    (folder / "Dockerfile").write_text(MINIMAL)
    with (folder / ".dockerignore").open("a") as ignore:
        ignore.write("!requirements.txt\n")
    _export(folder)
    return folder


def _export(project: Path) -> None:
    options = ("--quiet", "--no-dev", "--no-emit-project", "--no-hashes")
    run("uv", "export", *options, "--output-file", "requirements.txt", cwd=project)


# ---- What is measured


def _measure(project: Path, server: Postgres, url: str) -> Result:
    with _image() as image:
        first = _first_build(project, image)
        size = json.loads(docker("image", "inspect", image).stdout)[0]["Size"]
        alive, ready = _start(server, image, url)
        nothing = _build(project, image)
        before = _layers(image)
        code = _after_a_change(project, image)
        after = _layers(image)
        return Result(
            size=size,
            first=first,
            nothing=nothing,
            code=code,
            pushed=sum(after[layer] for layer in after.keys() - before.keys()),
            dependency=_after_a_dependency(project, image),
            alive=alive,
            ready=ready,
        )


@contextmanager
def _image() -> Iterator[str]:
    name = unique_name()
    try:
        yield name
    finally:
        docker("image", "rm", "--force", name)


def _build(project: Path, image: str, *options: str) -> float:
    began = time.perf_counter()
    docker("build", "--quiet", "--tag", image, *options, str(project))
    return time.perf_counter() - began


def _first_build(project: Path, image: str) -> float:
    """As on a new machine, without taking anything from the caches of others on this one."""
    dockerfile = project / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace("--mount=type=cache,", "--mount=type=tmpfs,"))
    try:
        return _build(project, image, "--no-cache")
    finally:
        dockerfile.write_text(text)
        _build(project, image)


def _after_a_change(project: Path, image: str) -> float:
    with (project / "src/app/main.py").open("a") as main:
        main.write(f"# {uuid4()}\n")
    return _build(project, image)


def _after_a_dependency(project: Path, image: str) -> float:
    try:
        _change_dependencies(project, "add")
        return _build(project, image)
    finally:
        _change_dependencies(project, "remove")


def _change_dependencies(project: Path, how: str) -> None:
    run("uv", how, "--quiet", "--no-sync", "tomlkit", cwd=project)
    if (project / "requirements.txt").exists():
        _export(project)


def _layers(image: str) -> dict[str, int]:
    """The sizes of the files that `docker save` writes, layers by their digests."""
    with NamedTemporaryFile() as file:
        docker("save", "--output", file.name, image)
        with tarfile.open(file.name) as archive:
            return {member.name: member.size for member in archive if "sha256/" in member.name}


def _start(server: Postgres, image: str, url: str) -> tuple[float, float]:
    """The seconds until it is alive, and until it is ready."""
    began = time.perf_counter()
    with server.running(image, "--publish=127.0.0.1::8000", DATABASE_URL=url) as container:
        port = docker("port", container, "8000").stdout.strip().rpartition(":")[2]
        until(lambda: status(f"http://127.0.0.1:{port}/health/live") == 200)
        alive = time.perf_counter() - began
        until(lambda: status(f"http://127.0.0.1:{port}/health/ready") == 200)
        return alive, time.perf_counter() - began
