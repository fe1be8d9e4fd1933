"""Has a child process run the `upgrade()` of revisions, and bounds its time and its output.

Migrations are anybody's code: one that hangs or ends its process costs a finding, no more.
"""

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.process import Child, environment, json_lines

SECONDS_TO_START = 60
SECONDS_FOR_EACH = 10


@dataclass(frozen=True, kw_only=True)
class RecordedStatement:
    """One text that a migration sent, from the `lines` of its file, the innermost first."""

    sql: str
    lines: tuple[int, ...]
    transaction: int
    autocommit: bool
    existing_type: str = ""  # what `op.alter_column` was given, in SQL


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

    statements: tuple[RecordedStatement, ...] = ()
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
    with ExitStack() as stack:
        child: RecordingProcess | None = None
        for index, file in enumerate(files):
            if child is None:
                child = stack.enter_context(recorder(search_path))
                child.ask(file)
            answer = child.answer(seconds)
            if isinstance(answer, str):
                stack.close()
                child = None
                yield Recording(error=answer, broken=True)
                continue
            # It records the next file while the caller looks at this one.
            for following in files[index + 1 : index + 2]:
                child.ask(following)
            yield answer


@contextmanager
def recorder(search_path: Sequence[str]) -> Iterator["RecordingProcess"]:
    """Start a process that records, with this `sys.path`; it ends with the block."""
    command = [sys.executable, "-m", "slipway.guard.recorder"]
    with json_lines(command, env=environment(search_path=search_path)) as child:
        yield RecordingProcess(child)


class RecordingProcess:
    """A process that takes the name of a file and answers with what its `upgrade()` did."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.started = False

    def ask(self, file: Path) -> None:
        self.child.send(str(file))

    def answer(self, seconds: float) -> Recording | str:
        """Return the recording of the file that was asked for first, or why there is none."""
        try:
            if not self.started:
                self.child.receive(SECONDS_TO_START)
                self.started = True
            return _recording(self.child.receive(seconds))
        except TimeoutError:
            return f"it did not end within {seconds:g} s"
        except EOFError:
            return f"it ended the process, with exit code {self.child.exit_code()}"
        except (ValueError, KeyError, TypeError, RecursionError):
            return "it disturbs what records it"


def _recording(answer: dict[str, Any]) -> Recording:
    def each(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        return ({**item, "lines": tuple(item["lines"])} for item in items)

    return Recording(
        statements=tuple(RecordedStatement(**item) for item in each(answer.pop("statements"))),
        effects=tuple(Effect(**item) for item in each(answer.pop("effects"))),
        **answer,
    )
