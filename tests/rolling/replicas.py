"""Releases of a service, each a folder, and the replicas that run them."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from packages.slipway.tests.processes import environment, free_port, until
from tests.project import DEADLINE, Project, status

# Longer than the proxy takes to notice.
SHUTDOWN_DELAY = 3


@dataclass(frozen=True)
class Release:
    """The code of one version; it runs with the packages of the project that it is of."""

    folder: Path
    python: Path

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        return environment(
            {"ENVIRONMENT": "staging", "PYTHONPATH": str(self.folder / "src"), **variables}
        )

    def run(
        self, *arguments: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a module of Python to its end; where `check` is set, a failure shows its output."""
        done = subprocess.run(
            [self.python, "-m", *arguments],
            cwd=self.folder,
            env=self.environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)} failed:\n{done.stdout}")
        return done


def release(project: Project, folder: Path) -> Release:
    """Keep the project's code as it is now."""
    shutil.copytree(project.path / "src", folder / "src")
    for name in ("pyproject.toml", "ruff.toml"):
        shutil.copy(project.path / name, folder)
    return Release(folder, project.path / ".venv/bin/python")


@dataclass
class Replica:
    """One place in which a version of the service runs."""

    database: str
    log: Path
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> int | None:
        return status(f"{self.url}/health/ready")

    def live(self) -> int | None:
        return status(f"{self.url}/health/live")

    def start(self, release: Release) -> None:
        """As the image of `web` starts it; returns once it is ready."""
        variables = {"DATABASE_URL": self.database, "SHUTDOWN_DELAY": f"{SHUTDOWN_DELAY}"}
        with self.log.open("ab") as log:
            self.process = process = subprocess.Popen(
                [release.python, "-m", "app", "--port", str(self.port)],
                cwd=release.folder,
                env=release.environment({**variables, **self.variables}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self.ready() == 200 or process.poll() is not None)
        assert process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(DEADLINE)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(DEADLINE)


@contextmanager
def replicas(
    release: Release, database: str, folder: Path, count: int = 2, **variables: str
) -> Iterator[list[Replica]]:
    """This many replicas, ready; the log of each is in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    started = [Replica(database, folder / f"web{n}.log", variables) for n in range(1, count + 1)]
    try:
        for replica in started:
            replica.start(release)
        yield started
    finally:
        for replica in started:
            replica.kill()
