"""Has a child process migrate a scratch database, and takes in what each statement does there."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from time import monotonic
from typing import Any

from sqlalchemy import make_url

from slipway import process
from slipway.locks import rank
from slipway.project.configuration import Configuration, ProjectError
from slipway.rehearse.model import Applied, Statement
from slipway.scratch import environment

# After which a migration is ended.
SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run did not reach its end: one sentence, and the place in the revision's file."""

    error: str
    revision: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """What Alembic did: the revisions that it applied or reverted, in their order, with their
    statements; those of attempts that failed too.

    `lock_timeout` is what the runner connects with, in seconds, where a trace has asked for it.
    """

    statements: tuple[Statement, ...] = ()
    applied: tuple[Applied, ...] = ()
    failure: Failure | None = None
    lock_timeout: float = 0


def trace(
    configuration: Configuration,
    url: str,
    target: str,
    *,
    direction: str = "upgrade",
    seconds: float = SECONDS,
) -> Run:
    """Migrate and ask PostgreSQL what each statement did; nobody else may be at work there.

    Args:
        url: of the scratch database, for asyncpg.
        target: a revision, as `alembic upgrade` and `alembic downgrade` take it.
        seconds: after which the migration is ended.

    Raises:
        ProjectError: the project's env.py could not be run, or it took too long.
    """
    return _run(configuration, "trace", url, direction, target, seconds)


def watch(configuration: Configuration, url: str, target: str) -> Run:
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
) -> Run:
    command = [sys.executable, "-m", "slipway.rehearse.trace.child_main", mode, direction, target]
    scratch = environment(make_url(url), configuration.root)
    variables = process.environment(scratch, search_path=configuration.search_path)
    collected, end = Collected(), monotonic() + seconds
    with process.json_lines(command, cwd=configuration.root, env=variables) as child:
        child.close_input()
        try:
            while True:
                collected.take(child.receive(end - monotonic()))
        except TimeoutError:
            raise ProjectError(f"{direction} {target} did not end within {seconds:g} s") from None
        except EOFError:
            code, said = child.exit_code(), child.last_line() or "it printed nothing"
    if not collected.ended:
        collected.fail(f"the process of the migration ended with exit code {code}: {said}")
    return collected.run()


# ---- What the child tells


class Collected:
    """Puts together what the child process tells."""

    def __init__(self) -> None:
        self.ended = False
        self.lock_timeout = 0.0
        self.failure: Failure | None = None
        self.applied: list[Applied] = []
        self.revision: Applied | None = None
        self.raised: tuple[int, str] = (1, "")
        # Those of finished attempts, and those of the one that runs, by what makes them the same.
        self.statements: list[Statement] = []
        self.attempt: dict[tuple[Any, ...], Statement] = {}

    def take(self, told: dict[str, Any]) -> None:
        """Take in one line; each kind has a method of its name."""
        getattr(self, f"_{told.pop('event')}")(**told)

    def _connected(self, moment: float, lock_timeout: float) -> None:
        self.lock_timeout = lock_timeout

    def _begun(self, moment: float, revision: str, file: str, message: str, phase: str) -> None:
        self._finish_attempt()
        if self.revision and self.revision.revision == revision:
            self.revision = replace(self.revision, attempts=self.revision.attempts + 1)
        else:
            self.revision = Applied(
                revision=revision,
                file=file,
                message=message,
                phase=phase,
                started=moment,
                seconds=0,
            )

    def _statement(self, moment: float, **parts: Any) -> None:
        known = {field.name for field in fields(Statement)}
        sequences = {name: tuple(parts[name]) for name in ("rewritten", "server")}
        statement = Statement(**{k: v for k, v in parts.items() if k in known} | sequences)
        key = (statement.file, statement.line, statement.sql, statement.autocommit)
        before = self.attempt.get(key)
        self.attempt[key] = _merged(before, statement) if before else statement

    def _raised(self, moment: float, line: int, error: str) -> None:
        self.raised = (line, error)

    def _applied(self, moment: float, revision: str) -> None:
        self._finish_attempt()
        if self.revision:
            done = replace(self.revision, seconds=moment - self.revision.started)
            self.applied.append(done)

    def _ended(self, moment: float, error: str) -> None:
        self.ended = True
        if error:
            self.fail(error)

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
        self.failure = Failure(
            error=error if self.revision.attempts > 1 else raised or error,
            revision=self.revision.revision,
            file=self.revision.file,
            line=line,
        )

    def _finish_attempt(self) -> None:
        self.statements += self.attempt.values()
        self.attempt.clear()

    def run(self) -> Run:
        return Run(
            statements=tuple(self.statements),
            applied=tuple(self.applied),
            failure=self.failure,
            lock_timeout=self.lock_timeout,
        )


def _merged(one: Statement, other: Statement) -> Statement:
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
