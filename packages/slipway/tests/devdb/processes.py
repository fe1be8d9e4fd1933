"""Runs `devdb` as real processes in a folder, and finds those that are left."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Project:
    folder: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    prefix: tuple[str, ...] = ()

    def popen(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "slipway.devdb", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `devdb ARGUMENTS...`."""
        process = self.popen(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.strip(), err.strip()

    def hold(self, *options: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
        """A command that uses the server until it is killed, and its DATABASE_URL."""
        user = self.popen(*options, "sh", "-c", "echo $DATABASE_URL; exec sleep 600", **environment)
        assert user.stdout
        assert user.stderr
        return user, user.stdout.readline().strip() or user.stderr.read()

    def sql(self, statement: str) -> str:
        code, out, err = self.run("psql", "-X", "-v", "ON_ERROR_STOP=1", "-Atqc", statement)
        assert code == 0, err
        return out

    def pids(self, program: str) -> list[int]:
        """Of `postgres` or `supervisor.py` for this folder."""
        if program == "postgres":
            found = processes("postgres -D", str(self.folder))
            # A child that was forked a moment ago still looks like its parent.
            return [pid for pid, parent in found.items() if parent not in found]
        return list(processes(program, str(self.folder)))

    def gone(self) -> bool:
        return not self.pids("postgres") and not self.pids("supervisor.py")


def processes(*words: str) -> dict[int, int]:
    """The processes whose command lines have all `words`, and their parents."""
    found = {}
    for process in psutil.process_iter(["ppid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if all(word in command for word in words):
            found[process.pid] = process.info["ppid"]
    return found
