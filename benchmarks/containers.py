"""What the images cost: `uv run python -m benchmarks.containers > benchmarks/containers.md`.

The `web` image of a default project beside a minimal one, which installs the same versions of the
same packages with pip and runs the same code. Times differ between machines and hours; what counts
is the comparison within one run. Each is the best of several.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).parents[1]
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


TITLE = """\
# What the images cost

Printed by `uv run python -m benchmarks.containers`, never written by hand: the `web` image of a \
default project, beside a single-stage image that installs the same versions of the same packages \
with pip and runs the same code, as root. {date}, {cores} cores with a load of {load:.0f}.
"""


@dataclass(frozen=True)
class Result:
    size: int
    first: float
    nothing: float
    code: float
    pushed: int
    dependency: float
    start: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        projects = _ours(Path(folder)), _minimal(Path(folder))
        ours, minimal = (_measure(project, runs) for project in projects)
    base = json.loads(_run("docker", "image", "inspect", BASE))[0]

    print(
        TITLE.format(date=datetime.now(UTC).date(), cores=os.cpu_count(), load=os.getloadavg()[1])
    )
    print("| | web | minimal |")
    print("|---|--:|--:|")
    for name, cell in ROWS.items():
        print(f"| {name} | {cell(ours)} | {cell(minimal)} |")
    print(f"\nThe base is {_megabytes(base['Size'])} MB of each. {_provenance(base)}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


ROWS: dict[str, Callable[[Result], str]] = {
    "image, MB": lambda result: _megabytes(result.size),
    "first build, no layer and no package cached, s": lambda result: f"{result.first:.1f}",
    "again, nothing changed, s": lambda result: f"{result.nothing:.1f}",
    "again, code changed, s": lambda result: f"{result.code:.1f}",
    "layers that a change of code makes new, MB": lambda result: _megabytes(result.pushed),
    "again, one more dependency, s": lambda result: f"{result.dependency:.1f}",
    "from `docker run` to the first answer, s": lambda result: f"{result.start:.1f}",
}


def _provenance(base: dict[str, dict[str, list[str]]]) -> str:
    if any(variable.startswith("PYTHON_VERSION=") for variable in base["Config"]["Env"]):
        return f"It is the public {BASE}."
    return (
        f"It is a stand-in for {BASE}, made on this machine, whose size is not that of the public "
        "image: compare the columns, and quote no size."
    )


# ---- The two projects


def _ours(folder: Path) -> Path:
    project = folder / "ours"
    copier = (sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", "--vcs-ref=HEAD")
    _run(*copier, str(ROOT), str(project))
    _run("uv", "lock", "--quiet", cwd=project)
    return project


def _minimal(folder: Path) -> Path:
    project = folder / "minimal"
    _run("cp", "-R", str(folder / "ours"), str(project))
    (project / "Dockerfile").write_text(MINIMAL)
    with (project / ".dockerignore").open("a") as ignore:
        ignore.write("!requirements.txt\n")
    _export(project)
    return project


def _export(project: Path) -> None:
    options = ("--quiet", "--no-dev", "--no-emit-project", "--no-hashes")
    _run("uv", "export", *options, "--output-file", "requirements.txt", cwd=project)


# ---- What is measured


def _measure(project: Path, runs: int) -> Result:
    with _image() as image:
        first = min(_first_build(project, image) for _ in range(runs))
        size = json.loads(_run("docker", "image", "inspect", image))[0]["Size"]
        start = min(_start(image) for _ in range(runs))
        nothing = min(_build(project, image) for _ in range(runs))
        before = _layers(image)
        code = min(_after_a_change(project, image) for _ in range(runs))
        after = _layers(image)
        return Result(
            size=size,
            first=first,
            nothing=nothing,
            code=code,
            pushed=sum(after[layer] for layer in after.keys() - before.keys()),
            start=start,
            dependency=_after_a_dependency(project, image),
        )


@contextmanager
def _image() -> Iterator[str]:
    name = f"slipway-benchmark-{uuid4().hex[:12]}"
    try:
        yield name
    finally:
        _run("docker", "image", "rm", "--force", name)


def _build(project: Path, image: str, *options: str) -> float:
    began = time.perf_counter()
    _run("docker", "build", "--quiet", "--tag", image, *options, str(project))
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
    _run("uv", "add", "--quiet", "--no-sync", "tomlkit", cwd=project)
    if (project / "requirements.txt").exists():
        _export(project)
    return _build(project, image)


def _layers(image: str) -> dict[str, int]:
    """The sizes of the files that `docker save` writes, layers by their digests."""
    with tempfile.NamedTemporaryFile() as file:
        _run("docker", "save", "--output", file.name, image)
        with tarfile.open(file.name) as archive:
            return {member.name: member.size for member in archive if "sha256/" in member.name}


def _start(image: str) -> float:
    variables = ["--env=DATABASE_URL=postgresql://app:unused@nowhere.invalid/app"]
    began = time.perf_counter()
    publish = ["--publish=127.0.0.1::8000", *variables]
    container = _run("docker", "run", "--detach", *publish, image).strip()
    try:
        port = int(_run("docker", "port", container, "8000").rpartition(":")[2])
        while not _answers(port):
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        _run("docker", "rm", "--force", container)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    with suppress(OSError, HTTPException):
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    return False


def _run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(  # noqa: S603
        command, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
