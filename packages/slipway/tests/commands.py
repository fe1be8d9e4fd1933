"""Alembic commands, each run in a process of its own that has nothing left to import.

`python -m packages.slipway.tests.commands` imports what every command needs, and forks for each
job that it reads: more than half of the time of a command that starts from nothing goes into
imports.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import alembic.autogenerate  # noqa: F401  for the forks, as the next two
import asyncpg  # type: ignore[import-untyped]  # noqa: F401
import sqlalchemy.ext.asyncio  # noqa: F401
from alembic.config import CommandLine

from packages.slipway.tests.processes import environment
from packages.slipway.tests.rows import ROOT, SOURCE

SECONDS = 300


def run(
    folder: Path, commands: Sequence[Sequence[str]], variables: Mapping[str, str]
) -> tuple[int, str]:
    """Run commands in a folder until one fails; its exit code, and what all printed.

    Args:
        variables: what the environment has besides ours.
    """
    process = _forking()
    assert process.stdin
    assert process.stdout
    with tempfile.NamedTemporaryFile() as output:
        job = [str(folder), commands, dict(variables), output.name]
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return code, Path(output.name).read_text(encoding="utf-8")


@cache
def _forking() -> subprocess.Popen[str]:
    """The process that forks, one for as long as ours lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "packages.slipway.tests.commands"],
        cwd=ROOT,
        # Alembic asks for the width of the terminal when it is imported.
        env=environment({"PYTHONPATH": str(SOURCE), "COLUMNS": "200"}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    atexit.register(process.communicate)  # which ends its input
    return process


# ---- The process


def _serve() -> None:
    # Commands find the application in their own folder, not in ours.
    sys.path[0] = ""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        folder, commands, variables, output = json.loads(line)
        if not (child := os.fork()):
            _become(folder, variables, output)
            for command in commands:
                CommandLine().main(command)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _become(folder: str, variables: Mapping[str, str], output: str) -> None:
    signal.alarm(SECONDS)
    os.chdir(folder)
    os.environ.update(variables)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_APPEND), stream)


if __name__ == "__main__":
    _serve()
