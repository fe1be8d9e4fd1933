"""Commands of Alembic and Slipway, each run in a process of its own that has nothing to import.

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
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import alembic.autogenerate  # noqa: F401  for the forks, as others below
import asyncpg  # type: ignore[import-untyped]  # noqa: F401
import psycopg  # noqa: F401
import psycopg2  # type: ignore[import-untyped]  # noqa: F401
import sqlalchemy.ext.asyncio  # noqa: F401
from alembic.config import CommandLine

from packages.slipway.tests.processes import environment
from packages.slipway.tests.rows import ROOT
from slipway import __main__, verify  # noqa: F401
from slipway.backfill import command, progress  # noqa: F401

SECONDS = 300


def run(
    folder: Path, commands: Sequence[Sequence[str]], variables: Mapping[str, str]
) -> tuple[int, str]:
    """Run Alembic commands in a folder until one fails; its exit code, and what all printed.

    Args:
        variables: what the environment has besides ours.
    """
    with tempfile.NamedTemporaryFile() as output:
        code = _ask("alembic", folder, commands, variables, output.name, output.name)
        return code, Path(output.name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Answer:
    """The exit code of a command, and what it printed on stdout and stderr."""

    code: int
    printed: str
    errors: str

    @property
    def outcome(self) -> Any:
        return json.loads(self.printed)


def slipway(folder: Path, *arguments: str, variables: Mapping[str, str]) -> Answer:
    """Run a command of `slipway` in a folder; it gets no signals."""
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as errors:
        code = _ask("slipway", folder, [arguments], variables, out.name, errors.name)
        printed, said = (Path(f.name).read_text(encoding="utf-8") for f in (out, errors))
        return Answer(code, printed, said)


def _ask(program: str, folder: Path, *job: object) -> int:
    process = _forking()
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps([program, str(folder), *job]) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


@cache
def _forking() -> subprocess.Popen[str]:
    """The process that forks, one for as long as ours lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "packages.slipway.tests.commands"],
        cwd=ROOT,
        # Alembic asks for the width of the terminal when it is imported.
        env=environment({"COLUMNS": "200"}),
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
        program, folder, commands, variables, *outputs = json.loads(line)
        if not (child := os.fork()):
            _become(folder, variables, outputs)
            if program == "slipway":
                sys.exit(__main__.main(commands[0]))
            for arguments in commands:
                CommandLine().main(arguments)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _become(folder: str, variables: Mapping[str, str], outputs: Sequence[str]) -> None:
    signal.alarm(SECONDS)
    os.chdir(folder)
    os.environ.update(variables)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, output in enumerate(outputs, 1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_APPEND), stream)


if __name__ == "__main__":
    _serve()
