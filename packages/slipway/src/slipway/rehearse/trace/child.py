"""Has a child process migrate a scratch database, and takes in what each statement does there."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from sqlalchemy import make_url

from slipway import process
from slipway.locks import rank
from slipway.project.configuration import Configuration, ProjectError
from slipway.rehearse.model import AppliedRevision, TracedStatement
from slipway.scratch import environment

# After which a migration is ended.
SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class MigrationFailure:
    """Why a run did not reach its end: one sentence, and the place in the revision's file."""

    error: str
    revision: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class MigrationRun:
    """What Alembic did: the revisions that it applied or reverted, in their order, with their
    statements; those of attempts that failed too.

    `lock_timeout` is what the runner connects with, in seconds, where a trace has asked for it.
    """

    statements: tuple[TracedStatement, ...] = ()
    applied: tuple[AppliedRevision, ...] = ()
    failure: MigrationFailure | None = None
    lock_timeout: float = 0


def trace(
    configuration: Configuration,
    url: str,
    target: str,
    *,
    direction: str = "upgrade",
    seconds: float = SECONDS,
) -> MigrationRun:
    """Migrate and ask PostgreSQL what each statement did; the database must have no other users.

    Args:
        url: of the scratch database, for asyncpg.
        target: a revision, as `alembic upgrade` and `alembic downgrade` take it.
        seconds: after which the migration is ended.

    Raises:
        ProjectError: the project's env.py could not be run, or it took too long.
    """
    return _run(configuration, "trace", url, direction, target, seconds)


def watch(configuration: Configuration, url: str, target: str) -> MigrationRun:
    """Upgrade as `trace` does, and send nothing that the migration does not send itself.

    The statements have times and errors, but no locks.
    """
    return _run(configuration, "watch", url, "upgrade", target, SECONDS)


def _run(
    configuration: Configuration,
    mode: str,
    url: str,
    direction: str,
    target: str,
    seconds: float,
) -> MigrationRun:
    module = "slipway.rehearse.trace.child_main"
    command = [sys.executable, "-m", module, *configuration.arguments, mode, direction, target]
    scratch = environment(make_url(url), configuration.root)
    variables = process.environment(scratch, search_path=configuration.search_path)
    collected, end = EventCollector(), monotonic() + seconds
    with process.json_lines(command, cwd=configuration.root, env=variables) as child:
        child.close_input()
        try:
            while True:
                collected.add(child.receive(end - monotonic()))
        except TimeoutError:
            raise ProjectError(f"{direction} {target} did not end within {seconds:g} s") from None
        except EOFError:
            code, said = child.exit_code(), child.last_line() or "it printed nothing"
    if not collected.ended:
        collected.fail(f"the process of the migration ended with exit code {code}: {said}")
    return collected.run()


# ---- Events of the child


class EventCollector:
    """Puts together the events that the child process reports, in their order."""

    def __init__(self) -> None:
        self.ended = False
        self.lock_timeout = 0.0
        self.failure: MigrationFailure | None = None
        self.applied: list[AppliedRevision] = []
        self.revision: AppliedRevision | None = None
        self.raised: tuple[int, str] = (1, "")
        # Those of finished attempts, and those of the one that runs, by what makes them the same.
        self.statements: list[TracedStatement] = []
        self.attempt: dict[tuple[Any, ...], TracedStatement] = {}

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one event.

        Raises:
            ValueError: its kind is not known.
        """
        match event:
            case {"event": "connected", "lock_timeout": seconds}:
                self.lock_timeout = seconds
            case {"event": "begun", "moment": moment, **parts}:
                self._begin(moment, parts)
            case {"event": "statement", "moment": _, **parts}:
                self._add_statement(parts)
            case {"event": "raised", "line": line, "error": error}:
                self.raised = (line, error)
            case {"event": "applied", "moment": moment}:
                self._finish_attempt()
                if self.revision:
                    done = replace(self.revision, seconds=moment - self.revision.started)
                    self.applied.append(done)
            case {"event": "ended", "error": error}:
                self.ended = True
                if error:
                    self.fail(error)
            case _:
                raise ValueError(f"unknown event {event!r}")

    def _begin(self, moment: float, parts: dict[str, Any]) -> None:
        self._finish_attempt()
        if self.revision and self.revision.revision == parts["revision"]:
            self.revision = replace(self.revision, attempts=self.revision.attempts + 1)
        else:
            self.revision = AppliedRevision(**parts, started=moment, seconds=0)

    def _add_statement(self, parts: dict[str, Any]) -> None:
        sequences = {name: tuple(parts[name]) for name in ("rewritten", "server")}
        statement = TracedStatement(**(parts | sequences))
        key = (statement.file, statement.line, statement.sql, statement.autocommit)
        before = self.attempt.get(key)
        self.attempt[key] = _merged(before, statement) if before else statement

    def fail(self, error: str) -> None:
        """Note that the run failed.

        Raises:
            ProjectError: no revision had begun, so it is none that failed.
        """
        self._finish_attempt()
        if not self.revision:
            raise ProjectError(error)
        is_applied = any(done.revision == self.revision.revision for done in self.applied)
        line, raised = (1, "") if is_applied else self.raised
        # What the runner says of several attempts is more than what ended the last one.
        self.failure = MigrationFailure(
            error=error if self.revision.attempts > 1 else raised or error,
            revision=self.revision.revision,
            file=self.revision.file,
            line=line,
        )

    def _finish_attempt(self) -> None:
        self.statements += self.attempt.values()
        self.attempt.clear()

    def run(self) -> MigrationRun:
        return MigrationRun(
            statements=tuple(self.statements),
            applied=tuple(self.applied),
            failure=self.failure,
            lock_timeout=self.lock_timeout,
        )


def _merged(one: TracedStatement, other: TracedStatement) -> TracedStatement:
    """The same statement sent again, as a loop over rows does."""
    tables = {**one.scanned, **other.scanned}
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        times=one.times + other.times,
        locks=_strongest(one.locks, other.locks),
        held=_strongest(one.held, other.held),
        rewritten=tuple(dict.fromkeys((*one.rewritten, *other.rewritten))),
        scanned={t: one.scanned.get(t, 0) + other.scanned.get(t, 0) for t in tables},
        server=tuple(dict.fromkeys((*one.server, *other.server))),
        error=other.error,
    )


def _strongest(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    pairs: Iterable[tuple[str, str]] = (*one.items(), *other.items())
    return dict(sorted(pairs, key=lambda pair: rank(pair[1])))
