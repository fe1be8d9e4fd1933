"""A rendered project that is worked on as its owner would: through `uv run`."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from packages.slipway.tests.processes import environment, free_port, git, run, until

DEADLINE = 60


@dataclass(frozen=True)
class Project:
    path: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def uv_run(
        self, *command: str, check: bool = True, input: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        variables = {**self.variables, **variables}
        return run(
            "uv", "run", *command, cwd=self.path, check=check, input=input, variables=variables
        )

    def just(
        self, *arguments: str, check: bool = True, input: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return self.uv_run("just", *arguments, check=check, input=input, **variables)

    def sql(self, query: str) -> str:
        """The answer of the development database, unadorned."""
        return self.just("db-shell", "-X", "-A", "-t", "-c", query).stdout.strip()

    def write(self, path: str, text: str) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.lstrip(), encoding="utf-8")

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.path / path).read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        self.write(path, text.replace(old, new))

    def commit(self) -> None:
        """Note the state of all files, installed packages and caches aside."""
        git("init", "--quiet", cwd=self.path)
        git("add", "--all", cwd=self.path)
        git("commit", "--quiet", "--message", "as rendered", cwd=self.path)

    def restore(self) -> None:
        """Return to the state that was noted, without a database."""
        supervisor = self.path / ".devdb/supervisor.lock"
        if supervisor.exists():
            with supervisor.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # until the server has stopped
                git("clean", "-ffdxq", "-e", ".venv", "-e", "*_cache", cwd=self.path)
        git("reset", "--quiet", "--hard", cwd=self.path)
        git("clean", "-ffdxq", "-e", ".venv", "-e", "*_cache", cwd=self.path)

    def revisions(self) -> list[Path]:
        return sorted((self.path / "src/migrations/versions").glob("*.py"))

    @contextmanager
    def background(self, *command: str) -> Iterator[None]:
        """Run a command for as long as the block takes, if it does not end before."""
        process = subprocess.Popen(
            ["uv", "run", *command],
            cwd=self.path,
            env=environment(self.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(DEADLINE)

    @contextmanager
    def served(self, *command: str, path: str = "/health/live", **variables: str) -> Iterator[str]:
        """Serve the project with `command` and a free port; yield the URL once `path` answers."""
        port = free_port()
        log = self.path.parent / f"{port}.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                ["uv", "run", *command, "--port", str(port)],
                cwd=self.path,
                env=environment({**self.variables, **variables}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: status(url + path) == 200 or server.poll() is not None, 240)
            assert server.poll() is None, log.read_text()
            yield url
        finally:
            # As Ctrl-C does: to every process of the group.
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGINT)
            server.wait(DEADLINE)


def status(url: str) -> int | None:
    """The status of a GET, or None where nothing answers."""
    try:
        return httpx2.get(url, timeout=5).status_code
    except httpx2.TransportError:
        return None
