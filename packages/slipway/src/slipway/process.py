"""Child processes that end with the block that started them, and so does what they started.

Callers block while they wait, so Ctrl-C reaches them at once (see `interrupts`), and no event loop
is needed. Each child leads a session of its own: Ctrl-C in a terminal reaches only this process,
which decides what its children are to do.
"""

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Any, cast

from slipway import interrupts

# Characters of standard error that are kept, and the longest line of JSON, in bytes.
KEPT = 2_000
LONGEST_LINE = 50_000_000
# For a child to end by itself, in seconds: after its output has, and after Ctrl-C.
GRACE = 2
CLEANUP = 20


def environment(
    variables: Mapping[str, str] | None = None,
    *,
    search_path: Iterable[str] = (),
    without: Collection[str] = (),
) -> dict[str, str]:
    """Return this process's environment, changed for a child.

    Args:
        variables: to set.
        search_path: the `sys.path` of a Python child, before what it has anyway.
        without: names of variables that the child does not get.
    """
    kept = {name: value for name, value in os.environ.items() if name not in without}
    path = os.pathsep.join(filter(None, search_path))
    return {**kept, **({"PYTHONPATH": path} if path else {}), **(variables or {})}


@contextmanager
def started(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program; kill it and whatever it started when the block ends.

    Raises:
        OSError: it cannot be started.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        # An interrupt between the start and the `try` would leave it running.
        with interrupts.deferred():
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        yield process
    finally:
        if process:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                with suppress(BrokenPipeError):  # what was written and not read
                    pipe.close()


def run(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed, whatever its exit code.

    Ctrl-C is passed on, and the program gets `CLEANUP` seconds to clean up.

    Raises:
        OSError: it cannot be started.
    """
    with started(command, cwd=cwd, env=env) as process:
        try:
            output, errors = process.communicate()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=CLEANUP)
            raise
    texts = (text.decode(errors="replace") for text in (output, errors))
    return subprocess.CompletedProcess(command, process.returncode, *texts)


@contextmanager
def json_lines(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator["Child"]:
    """Start a program that reads and writes JSON, one value a line; kill it when the block ends.

    Raises:
        OSError: it cannot be started.
    """
    with started(command, cwd=cwd, env=env, stdin=subprocess.PIPE) as process:
        yield Child(process)


@dataclass
class Child:
    """A program that reads and writes lines of JSON; the end of its standard error is kept."""

    process: subprocess.Popen[bytes]
    _output: bytearray = field(default_factory=bytearray)
    _errors: bytes = b""

    def __post_init__(self) -> None:
        # Read all the time, or the child would wait once the pipe is full.
        errors, self.process.stderr = self.process.stderr, None
        self._reader = Thread(target=self._keep, args=[errors], daemon=True)
        self._reader.start()

    def send(self, value: object) -> None:
        """Write a value; where the child has ended, the next `receive` says so."""
        with suppress(BrokenPipeError):
            pipe = cast("IO[bytes]", self.process.stdin)
            pipe.write(json.dumps(value).encode() + b"\n")
            pipe.flush()

    def close_input(self) -> None:
        """Let the child read to the end of its input."""
        with suppress(BrokenPipeError):
            cast("IO[bytes]", self.process.stdin).close()

    def receive(self, seconds: float | None = None) -> Any:
        """Return the next value that the child writes.

        Args:
            seconds: to wait for it; None for any time.

        Raises:
            TimeoutError: it took longer.
            EOFError: the output has ended.
            ValueError: the line is not JSON, or longer than `LONGEST_LINE`.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        searched = 0
        while (end := self._output.find(b"\n", searched)) < 0:
            searched = len(self._output)
            if searched > LONGEST_LINE:
                raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
            self._output += self._read(deadline)
        line = bytes(self._output[:end])
        del self._output[: end + 1]
        return json.loads(line)

    def exit_code(self) -> int:
        """Return the exit code of a child whose output has ended; kill it where it has not."""
        try:
            return self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def last_line(self) -> str:
        """Return the last line of standard error of a child that has ended, or ""."""
        self._reader.join(GRACE)  # what the child has started may still hold the pipe
        lines = self._errors.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _read(self, deadline: float | None) -> bytes:
        output = cast("IO[bytes]", self.process.stdout)
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            left = None if deadline is None else max(0, deadline - time.monotonic())
            if not selector.select(left):
                raise TimeoutError
        if part := os.read(output.fileno(), 1 << 16):
            return part
        raise EOFError

    def _keep(self, errors: IO[bytes]) -> None:
        with errors:
            while part := os.read(errors.fileno(), 1 << 16):
                self._errors = (self._errors + part)[-KEPT:]
