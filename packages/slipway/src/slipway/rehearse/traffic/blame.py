"""Requests that failed or waited, and the statement that was the cause."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from slipway.locks import ACCESS_EXCLUSIVE, is_strong
from slipway.rehearse import rules
from slipway.rehearse.model import (
    CONTROL,
    WRITES,
    AppliedRevision,
    Rehearsal,
    Request,
    TracedStatement,
)
from slipway.rehearse.trace.findings import Place, finding, place_of
from slipway.report import Finding, count
from slipway.runner.policy import Policy

# asyncpg met a plan that the migration made invalid: each process of a service gets this once
# when the result of a query changes, also by a change that is free.
STALE_PLAN = "InvalidCachedStatementError"


@dataclass(frozen=True)
class LockHold:
    """A lock that a watched statement waited for or held, in seconds of `time.monotonic`."""

    statement: TracedStatement
    mode: str
    end: float


def request_findings(
    rehearsal: Rehearsal, *, processes: int = 1, small_tables: Collection[str] = ()
) -> Iterator[Finding]:
    """Find requests that failed, or waited longer than the lock timeout plus the noise.

    Args:
        processes: those that sent the requests; each may have one stale plan of each table.
        small_tables: those for which waiting does not matter.
    """
    watched, requests = rehearsal.watched, rehearsal.requests
    if not watched:
        return
    begun = watched[0].started
    noise = max((r.seconds for r in requests if r.kind == CONTROL), default=0)
    during = [r for r in requests if r.kind != CONTROL and r.started + r.seconds >= begun]
    blocking = _BlockingStatements(watched, rehearsal.traced, rehearsal.applied)
    # Where the migrations have no limit, that of the runner is what a service should bear.
    patience = rehearsal.lock_timeout or Policy().lock_timeout
    by_table = sorted(during, key=lambda r: (r.table, r.kind in WRITES))
    for (table, writes), group in groupby(by_table, lambda r: (r.table, r.kind in WRITES)):
        sent = list(group)
        kind = "writes" if writes else "reads"
        failed = [request for request in sent if request.error]
        yield from _failed(table, kind, failed, blocking, processes)
        slow = [r for r in sent if not r.error and r.seconds > patience + noise]
        if slow and table not in small_tables:
            yield _stalled(table, kind, max(slow, key=lambda r: r.seconds), blocking)


def _failed(
    table: str,
    kind: str,
    failed: Sequence[Request],
    blocking: "_BlockingStatements",
    processes: int,
) -> Iterator[Finding]:
    found: dict[tuple[Place, str], int] = {}
    for request in failed:
        error = STALE_PLAN if STALE_PLAN in request.error else request.error.splitlines()[0]
        key = (place_of(blocking.of(request).statement), error)
        found[key] = found.get(key, 0) + 1
    for (place, error), times in found.items():
        is_stale = error == STALE_PLAN and times <= processes
        rule = rules.STALE_PLAN if is_stale else rules.FAILED
        said = count(times, kind.removesuffix("s"))
        yield finding(rule, place, table=table, count=said, error=error)


def _stalled(table: str, kind: str, request: Request, blocking: "_BlockingStatements") -> Finding:
    hold = blocking.of(request)
    longest = blocking.longest(request)
    did = f"line {hold.statement.line} waited for or held its lock"
    if hold.mode:
        did = f"line {hold.statement.line} waited for or held {hold.mode}"
    if longest and longest.line != hold.statement.line:
        did += f" and line {longest.line} ran for {longest.seconds:.1f} s"
    seconds = f"{request.seconds:.1f}"
    place = place_of(hold.statement)
    return finding(rules.STALLED, place, table=table, kind=kind, seconds=seconds, holder=did)


class _BlockingStatements:
    """Finds the statement whose lock a request waited for."""

    def __init__(
        self,
        watched: Sequence[TracedStatement],
        traced: Sequence[TracedStatement],
        applied: Sequence[AppliedRevision],
    ) -> None:
        self.watched = watched
        self.locks = {(s.file, s.line, s.sql): s.locks for s in traced}
        self.ends = {revision.revision: revision.started + revision.seconds for revision in applied}

    def of(self, request: Request) -> LockHold:
        """The newest lock that was in its way, or else the newest statement before its end that
        may have changed its table, or any."""
        end = request.started + request.seconds
        before = [s for s in self.watched if s.started <= end] or [self.watched[0]]
        holds = [
            hold
            for hold in (self._hold(s, request) for s in before)
            if hold.mode and hold.end >= request.started
        ]
        if holds:
            return holds[-1]
        changes = [s for s in before if self._mode(s, request.table) == ACCESS_EXCLUSIVE]
        return LockHold((changes or before)[-1], "", end)

    def _mode(self, statement: TracedStatement, table: str) -> str:
        key = (statement.file, statement.line, statement.sql)
        return self.locks.get(key, {}).get(table, "")

    def _hold(self, statement: TracedStatement, request: Request) -> LockHold:
        mode = self._mode(statement, request.table)
        blocks = mode == ACCESS_EXCLUSIVE or (
            bool(mode) and is_strong(mode) and request.kind in WRITES
        )
        end = statement.started + statement.seconds
        if not statement.autocommit and not statement.error:
            end = max(end, self.ends.get(statement.revision, end))
        return LockHold(statement, mode if blocks else "", end)

    def longest(self, request: Request) -> TracedStatement | None:
        """The statement that took the most time while a request waited."""
        end = request.started + request.seconds

        def shared(statement: TracedStatement) -> float:
            last = min(statement.started + statement.seconds, end)
            return last - max(statement.started, request.started)

        longest = max(self.watched, key=shared)
        return longest if shared(longest) > 0 else None
