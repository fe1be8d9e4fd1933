"""Has a child process run the `upgrade()` of revisions, and bounds its time and its output.

Migrations are anybody's code: one that hangs or ends its process costs a finding, no more.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any, cast

SECONDS_TO_START = 60
SECONDS_FOR_EACH = 10
LONGEST_ANSWER = 50_000_000


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One text that a migration sent, from the `lines` of its file, the innermost first."""

    sql: str
    lines: tuple[int, ...]
    transaction: int
    autocommit: bool
    existing_type: str = ""  # what `op.alter_column` was told, in SQL


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Something that left no SQL: `rule` is the one that forbids it."""

    rule: str
    what: str
    lines: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a revision did; `error` says why it did not reach its end.

    It is `broken` if it would not reach it on a database either.
    """

    statements: tuple[Recorded, ...] = ()
    effects: tuple[Effect, ...] = ()
    error: str = ""
    error_line: int = 0
    broken: bool = False


def record(
    files: Sequence[Path], search_path: Sequence[str], *, seconds: float = SECONDS_FOR_EACH
) -> Generator[Recording, None, None]:
    """Record the upgrades of these files, in their order.

    Args:
        search_path: what Python's `sys.path` is for them.
        seconds: for each file.

    Raises:
        OSError: no process could be started.
    """
    child: _Child | None = None
    try:
        for index, file in enumerate(files):
            if child is None:
                child = _Child(search_path)
                child.ask(file)
            answer = child.answer(seconds)
            if isinstance(answer, str):
                child.end()
                child = None
                yield Recording(error=answer, broken=True)
                continue
            # It records the next file while the caller looks at this one.
            for following in files[index + 1 : index + 2]:
                child.ask(following)
            yield answer
    finally:
        if child:
            child.end()


class _Child:
    """A process that takes the name of a file and answers with a line of JSON."""

    def __init__(self, search_path: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "slipway.guard.recorder"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(search_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that whatever it starts ends with it
        )
        self.input = cast("IO[bytes]", self.process.stdin)
        self.output = cast("IO[bytes]", self.process.stdout)
        self.answers: Queue[bytes] = Queue(maxsize=1)
        Thread(target=self._read, daemon=True).start()
        self.started = False

    def _read(self) -> None:
        with self.output as output:
            while line := output.readline(LONGEST_ANSWER):
                self.answers.put(line)
        self.answers.put(b"")

    def ask(self, file: Path) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.input.write(json.dumps(str(file)).encode() + b"\n")
            self.input.flush()

    def answer(self, seconds: float) -> Recording | str:
        """The recording of the file that was asked for first, or why there is none."""
        try:
            if not self.started:
                self._answer(SECONDS_TO_START)
                self.started = True
            return _recording(json.loads(self._answer(seconds)))
        except Empty:
            return f"it did not end within {seconds:g} s"
        except EOFError:
            return f"it ended the process, with exit code {self.process.wait()}"
        except (ValueError, KeyError, TypeError, RecursionError):
            return "it disturbs what records it"

    def _answer(self, seconds: float) -> bytes:
        if line := self.answers.get(timeout=seconds):
            return line
        raise EOFError

    def end(self) -> None:
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(Empty):
            self.answers.get_nowait()  # the reader may wait for a place in the queue
        with contextlib.suppress(BrokenPipeError):
            self.input.close()


def _recording(answer: dict[str, Any]) -> Recording:
    def each(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        return ({**item, "lines": tuple(item["lines"])} for item in items)

    return Recording(
        statements=tuple(Recorded(**item) for item in each(answer.pop("statements"))),
        effects=tuple(Effect(**item) for item in each(answer.pop("effects"))),
        **answer,
    )
