"""Programs that tests run, in an environment that is the same on every machine."""

import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

# What must not reach a rendered project: our virtual environment, a database of the developer's,
# and what makes each start of Python slow.
UNWANTED = {
    "DATABASE_URL",
    "ENVIRONMENT",
    "MIGRATION_DATABASE_URL",
    "PYTHONDONTWRITEBYTECODE",
    "VIRTUAL_ENV",
}
IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in [("NAME", "Ada"), ("EMAIL", "ada@example.com")]
}

ROOT = Path(__file__).parents[3]
# Which worker of a run of pytest-xdist this is, and of how many.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# mypy takes 12 s for a project that it sees for the first time, and 0.5 s with the cache of another
# one. Its cache is SQLite, which two processes cannot write at once: each worker has its own.
MYPY_CACHE = ROOT / f".mypy_cache/rendered/{WORKER}"


def _ports(worker: int, workers: int) -> range:
    """The ports of one worker: no other one has them, and the system hands out none of them."""
    first, last = 20_000, 32_000
    each = (last - first) // workers
    return range(first + worker * each, first + (worker + 1) * each)


_PORTS = iter(random.sample(_ports(WORKER, WORKERS), len(_ports(WORKER, WORKERS))))


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program of a rendered project."""
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return {**kept, **IDENTITY, "MYPY_CACHE_DIR": str(MYPY_CACHE), **variables}


def run(
    *command: str | Path,
    cwd: Path,
    check: bool = True,
    input: str | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a program for so many seconds at most; if `check` is set, a failure shows its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(variables or {}),
        input=input,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if check and done.returncode:
        command_line = " ".join(map(str, command))
        raise AssertionError(
            f"{command_line} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


def git(*arguments: str, cwd: Path) -> str:
    return run("git", *arguments, cwd=cwd).stdout


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def free_port() -> int:
    """A port for something that starts later; it is given once."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = next(_PORTS)
            probe.bind(("127.0.0.1", port))
            return port


def one_line(text: str) -> str:
    """What a command says on stderr, without what `uv` and `just` add about themselves."""
    noise = re.compile(
        r"^(uv run |error: recipe |warning: |\s*(Building|Built|Using|Creating|Install|Uninstall))"
    )
    lines = [line for line in text.splitlines() if line.strip() and not noise.match(line)]
    assert len(lines) == 1, text
    return lines[0]


NOBODY = 65534


def as_nobody() -> list[str]:
    """What runs a program that refuses root, and lets it still reach the folders of the tests."""
    if os.geteuid() != 0:
        return []
    return [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
        "--securebits=+no_setuid_fixup",
    ]
