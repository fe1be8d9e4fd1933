"""The child process of `trace`: runs Alembic with the project's own env.py, and reports each
statement that a revision sends.

`python -m slipway.rehearse.trace.child_main MODE DIRECTION REVISION` in the folder of a project;
`redirect` leads its connections to the scratch database. In the mode `trace` it asks PostgreSQL
before and after each statement what that did; in the mode `watch` it sends nothing of its own.
Its standard output is lines of JSON, and closed to the migrations: what they print goes to the
standard error.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial, update_wrapper
from inspect import unwrap
from time import monotonic
from types import FrameType
from typing import Any, NoReturn, cast
from weakref import WeakKeyDictionary

import greenlet  # type: ignore[import-untyped]
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Dialect, Engine, Pool, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from slipway.errors import MigrationError
from slipway.locks import is_strong
from slipway.project.configuration import (
    Configuration,
    add_arguments,
    alembic_config,
    from_arguments,
)
from slipway.redirect import REFUSED, VARIABLE, redirect
from slipway.rehearse.model import TracedStatement
from slipway.rehearse.trace.driver import (
    Notice,
    is_in_transaction,
    keep_notices,
    request_notices,
)
from slipway.rehearse.trace.effects import (
    OWN,
    Effects,
    TransactionSnapshot,
    effects_between,
    effects_in_twin,
    effects_of_concurrent,
    is_relevant_notice,
    lock_timeout,
    snapshot,
)
from slipway.runner.blockers import BLOCKERS

MODES, DIRECTIONS = ("trace", "watch"), ("upgrade", "downgrade")
Emit = Callable[..., None]


@dataclass(frozen=True)
class RunningRevision:
    """The revision that runs, and where: its file, and the greenlet of Alembic."""

    revision: str
    file: str
    line: int
    greenlet: Any


@dataclass(frozen=True)
class PendingStatement:
    """A statement on its way. `before` is None where nothing is asked, `effects` are known already
    where it was tried before."""

    statement: TracedStatement
    before: TransactionSnapshot | None = None
    effects: Effects | None = None


class Observer:
    """Listens to all engines of the process, so that env.py stays as it is."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.running: RunningRevision | None = None
        self.sent: WeakKeyDictionary[ExecutionContext, PendingStatement] = WeakKeyDictionary()

    def listen(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "handle_error", self._failed)

    # ---- Revisions

    def observed(self, step: RevisionStep) -> RevisionStep:
        """Make a step of Alembic's report when its revision runs."""
        run = partial(self._run, step, step.migration_fn)
        step.migration_fn = update_wrapper(run, step.migration_fn)
        return step

    def _run(self, step: RevisionStep, function: Callable[..., None], **options: Any) -> None:
        script = step.revision
        code = unwrap(function).__code__
        self.running = RunningRevision(
            script.revision, script.path, code.co_firstlineno, greenlet.getcurrent()
        )
        self.begin()
        self.emit(
            "begun",
            revision=script.revision,
            file=script.path,
            message=(script.doc or "").strip(),
            phase=str(getattr(script.module, "phase", "")),
        )
        try:
            function(**options)
        except BaseException as error:
            self.emit("raised", line=self._line_of(error), error=reason(error))
            raise
        finally:
            self.running = None

    def _line_of(self, error: BaseException) -> int:
        running = cast("RunningRevision", self.running)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == running.file]
        return lines[-1] if lines and lines[-1] else running.line

    def begin(self) -> None:
        """A revision begins."""

    # ---- Statements

    def _before(
        self,
        connection: Connection,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: ExecutionContext,
        many: bool,
    ) -> None:
        if not self.running or not _is_of_revision(context):
            return
        statement = TracedStatement(
            revision=self.running.revision,
            file=self.running.file,
            line=self._line(sys._getframe(1)),
            sql=sql.strip(),
            started=monotonic(),
            seconds=0,
            autocommit=_is_autocommit(connection),
        )
        sent = self.look(connection, statement, parameters)
        started = replace(sent.statement, started=monotonic())
        self.sent[context] = replace(sent, statement=started)

    def _after(
        self,
        connection: Connection,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: ExecutionContext,
        many: bool,
    ) -> None:
        if sent := self.sent.pop(context, None):
            statement = replace(
                sent.statement, seconds=monotonic() - sent.statement.started, times=1
            )
            found = self.effects(connection, sent)
            self.emit("statement", **{**asdict(statement), **(asdict(found) if found else {})})

    def _failed(self, context: ExceptionContext) -> None:
        execution = context.execution_context
        if execution and (sent := self.sent.pop(execution, None)):
            seconds = monotonic() - sent.statement.started
            error = reason(context.original_exception)
            self.emit("statement", **asdict(replace(sent.statement, seconds=seconds, error=error)))

    def look(
        self, connection: Connection, statement: TracedStatement, parameters: Any
    ) -> PendingStatement:
        """Look before a statement is sent."""
        return PendingStatement(statement)

    def effects(self, connection: Connection, sent: PendingStatement) -> Effects | None:
        """What a statement did that has ended."""
        return None

    def _line(self, frame: FrameType | None) -> int:
        """Where in the revision's file a statement comes from, the innermost line.

        What `op.run_async` is given runs beside Alembic's stack, which waits for it in that line.
        """
        running = cast("RunningRevision", self.running)
        for start in (frame, running.greenlet.gr_frame):
            for found in _frames(start):
                if found.f_code.co_filename == running.file:
                    return found.f_lineno
        return running.line


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame:
        yield frame
        frame = frame.f_back


def _is_of_revision(context: ExecutionContext) -> bool:
    """Not one of the rehearsal, nor of the runner, which looks for who is in its way."""
    is_own = context.execution_options.get(OWN, False)
    return not is_own and context.invoked_statement is not BLOCKERS


def _is_autocommit(connection: Connection) -> bool:
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig:
        cause = error.orig
    # asyncpg's own, where SQLAlchemy has wrapped it
    if type(cause).__module__.startswith("sqlalchemy") and cause.__cause__:
        cause = cause.__cause__
    return " ".join(f"{type(cause).__name__}: {cause}".split())


# ---- With effects


class Tracer(Observer):
    """Asks before and after each statement; of those that are sent again and again, only once for
    each set of locks that their transaction holds."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit)
        self.known: frozenset[int] | None = None
        self.seen: set[tuple[str, int, bool]] = set()

    def listen(self) -> None:
        super().listen()
        event.listen(Engine, "do_connect", _request_notices)
        event.listen(Pool, "connect", _keep_notices)

    def begin(self) -> None:
        self.known = None
        self.seen.clear()

    def look(
        self, connection: Connection, statement: TracedStatement, parameters: Any
    ) -> PendingStatement:
        key = (statement.sql, statement.line, statement.autocommit)
        if key in self.seen:
            return PendingStatement(statement)
        self.seen.add(key)
        # A transaction that has failed can only be rolled back, and says nothing.
        with suppress(DBAPIError):
            before = snapshot(connection)
            if self.known is None:
                self.known = before.tables
                self.emit("connected", lock_timeout=lock_timeout(connection))
            found = None
            if not is_in_transaction(connection):
                statement = replace(statement, autocommit=True)
                found = effects_in_twin(connection, statement.sql, parameters, self.known)
            connection.info["notices"].clear()
            return PendingStatement(statement, before, found)
        return PendingStatement(statement)

    def effects(self, connection: Connection, sent: PendingStatement) -> Effects | None:
        if sent.effects or not sent.before:
            return sent.effects
        known = cast("frozenset[int]", self.known)
        with suppress(DBAPIError):
            after = snapshot(connection)
            compare = effects_of_concurrent if sent.statement.autocommit else effects_between
            found = compare(sent.before, after, known, connection.info["notices"])
            if any(map(is_strong, found.locks.values())):
                self.seen.clear()
            return found
        return None


def _request_notices(
    dialect: Dialect, record: Any, arguments: list[Any], parameters: dict[str, Any]
) -> None:
    request_notices(dialect.driver, parameters)


def _keep_notices(connection: Any, record: ConnectionPoolEntry) -> None:
    notices: list[str] = record.info.setdefault("notices", [])

    def keep(notice: Notice) -> None:
        if is_relevant_notice(notice):
            notices.append(notice.text)

    keep_notices(record.driver_connection, keep)


# ---- Alembic


def migrate(observer: Observer, configuration: Configuration, direction: str, target: str) -> None:
    """Do what `alembic upgrade` and `alembic downgrade` do, observed."""
    config = alembic_config(configuration)
    script = ScriptDirectory.from_config(config)

    # The runner tells commands apart by the names of these functions.
    def upgrade(heads: Any, _: Any) -> Iterator[RevisionStep]:
        found = script.iterate_revisions(target, heads, implicit_base=True)
        steps = [RevisionStep(script.revision_map, one, True) for one in found]
        return observed(reversed(steps))

    def downgrade(heads: Any, _: Any) -> Iterator[RevisionStep]:
        found = script.iterate_revisions(heads, target, select_for_downgrade=True)
        return observed(RevisionStep(script.revision_map, one, False) for one in found)

    def observed(steps: Iterable[RevisionStep]) -> Iterator[RevisionStep]:
        for step in steps:
            yield observer.observed(step)
            # Alembic takes the next one when the transaction of this one has been committed.
            observer.emit("applied", revision=step.revision.revision)

    work = upgrade if direction == "upgrade" else downgrade
    with EnvironmentContext(config, script, fn=work, destination_rev=target):
        script.run_env()


def run(observer: Observer, configuration: Configuration, direction: str, target: str) -> None:
    """Migrate, and report how it ended."""
    error = ""
    try:
        migrate(observer, configuration, direction, target)
    except (SystemExit, MigrationError) as end:  # the ways of env.py to say what is wrong
        error = " ".join(str(end).split())
    # Migrations are anybody's code: whatever they raise is what they did.
    except BaseException as raised:
        error = reason(raised)
    observer.emit("ended", error=error)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("direction", choices=DIRECTIONS)
    parser.add_argument("target")
    add_arguments(parser)
    arguments = parser.parse_args()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(what: str, **parts: Any) -> None:
        line = {"event": what, "moment": monotonic(), **parts}
        print(json.dumps(line), file=output, flush=True)

    def refuse(why: str) -> NoReturn:
        # At once: env.py may catch everything, and try again for ever.
        emit("ended", error=why)
        os._exit(REFUSED)

    observer = Tracer(emit) if arguments.mode == "trace" else Observer(emit)
    observer.listen()
    # After the observer, which asks for messages before the connection is made.
    redirect(**json.loads(os.environ[VARIABLE]), refuse=refuse)
    run(observer, from_arguments(arguments), arguments.direction, arguments.target)


if __name__ == "__main__":
    main()
