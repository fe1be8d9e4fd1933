"""The child process of `record`: runs revisions in Alembic's offline mode and notes what they do.

It takes names of files from its standard input, and answers each with a line of JSON. Revisions
have neither of the two streams, and no network, no other programs and no files to write either.
"""

import contextlib
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Dialect, MetaData
from sqlalchemy.dialects import postgresql

from slipway.guard.record import Effect, RecordedStatement, Recording

MOST_CHARACTERS, MOST_STATEMENTS = 2_000_000, 20_000


@dataclass
class Notes:
    """What one revision has done so far."""

    file: str = ""
    statements: list[RecordedStatement] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    transaction: int = 1
    autocommit: bool = False
    size: int = 0


class Recorder:
    """Alembic's output buffer; where a text comes from, it sees on Python's stack."""

    def __init__(self) -> None:
        self.notes = Notes()

    def write(self, text: str) -> None:
        frames = _frames(sys._getframe(1))
        callers = {frame.f_code.co_name for frame in frames[:2]}
        if "emit_commit" in callers:  # Alembic's autocommit block begins, ...
            self.notes.autocommit = True
        elif "emit_begin" in callers:  # ... and ends
            self.notes.autocommit = False
            self.notes.transaction += 1
        else:
            self._note(text.strip().removesuffix(";"), frames)

    def flush(self) -> None:
        pass

    def _note(self, sql: str, frames: list[FrameType]) -> None:
        notes = self.notes
        notes.size += len(sql)
        if notes.size > MOST_CHARACTERS or len(notes.statements) >= MOST_STATEMENTS:
            raise OverflowError(f"{len(notes.statements):,} statements, too many to look at")
        notes.statements.append(
            RecordedStatement(
                sql=sql,
                lines=self._lines(frames),
                transaction=notes.transaction,
                autocommit=notes.autocommit,
                existing_type=_existing_type(frames) if " TYPE " in sql else "",
            )
        )

    def effect(self, rule: str, what: str) -> bool:
        """Note what leaves no SQL, unless it is not a revision that does it."""
        lines = self._lines(_frames(sys._getframe(2)))
        if lines and len(self.notes.effects) < 100:
            self.notes.effects.append(Effect(rule=rule, what=what, lines=lines))
        return bool(lines)

    def _lines(self, frames: list[FrameType]) -> tuple[int, ...]:
        file = self.notes.file
        here = (frame.f_lineno for frame in frames if frame.f_code.co_filename == file)
        return tuple(dict.fromkeys(here))


def _frames(frame: FrameType | None) -> list[FrameType]:
    found = []
    while frame:
        found.append(frame)
        frame = frame.f_back
    return found


DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def _existing_type(frames: list[FrameType]) -> str:
    for frame in frames:
        if frame.f_code.co_name == "alter_column":
            type_ = frame.f_locals.get("existing_type")
            # Anything can stand there; the type is a help, not a condition.
            with contextlib.suppress(Exception):
                return type_.compile(dialect=DIALECT) if type_ else ""
    return ""


# ---- What a revision must not do


def _watch(recorder: Recorder) -> None:
    def sleep(seconds: Any) -> None:
        recorder.effect("impure-migration", "sleeps") or original_sleep(seconds)

    original_sleep = time.sleep
    time.sleep = sleep
    for name in ("create_all", "drop_all", "reflect"):
        setattr(MetaData, name, _noted(recorder, getattr(MetaData, name)))
    sys.addaudithook(lambda event, arguments: _refuse(recorder, event, arguments))


def _noted(recorder: Recorder, method: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **options: Any) -> Any:
        recorder.effect("create-all", f"calls {method.__name__}()")
        return method(*arguments, **options)

    return wrapper


NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.kill")
FILES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink")


def _refuse(recorder: Recorder, event: str, arguments: tuple[Any, ...]) -> None:
    what = ""
    if event in NETWORK:
        what = "reaches for the network"
    elif event in PROGRAMS:
        what = "runs another program"
    elif event in FILES or (event == "open" and _writes(arguments)):
        what = "writes to the disk"
    if what and recorder.notes.file:
        recorder.effect("impure-migration", what)
        raise PermissionError(f"it {what}, which the guard does not let it do")


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = arguments
    if path == os.devnull:
        return False
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


# ---- One revision after the other


def _run(recorder: Recorder, operations: Any, file: str) -> Recording:
    recorder.notes = notes = Notes(file)
    error, line, broken = "", 0, False
    module = ModuleType("revision_under_guard")
    module.__file__ = file
    sys.modules[module.__name__] = module
    try:
        exec(compile(Path(file).read_bytes(), file, "exec"), module.__dict__)  # noqa: S102
        with Operations.context(operations):
            module.upgrade()
    # Whatever the revision raises, even to end the process, is its result.
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}".strip(": ").splitlines()[0][:300]
        places = [f for f in traceback.extract_tb(raised.__traceback__) if f.filename == file]
        line = (places[-1].lineno if places else getattr(raised, "lineno", 0)) or 0
        broken = not isinstance(raised, Exception) or isinstance(raised, SyntaxError)
    return Recording(
        statements=tuple(notes.statements),
        effects=tuple(notes.effects),
        error=error,
        error_line=line,
        broken=broken,
    )


def main() -> None:
    jobs, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.dont_write_bytecode = True

    gc.freeze()  # what was imported stays: not to look through it saves a tenth
    recorder = Recorder()
    _watch(recorder)
    script = ScriptDirectory(Path.cwd())
    with EnvironmentContext(Config(), script, as_sql=True) as context:
        context.configure(
            url="postgresql+asyncpg://",
            dialect_opts={"paramstyle": "named"},
            literal_binds=True,
            transaction_per_migration=True,
            output_buffer=recorder,  # type: ignore[arg-type]
        )
        print(json.dumps("ready"), file=answers, flush=True)
        for job in jobs:
            recording = _run(recorder, context.get_context(), json.loads(job))
            print(json.dumps(asdict(recording)), file=answers, flush=True)


if __name__ == "__main__":
    main()
