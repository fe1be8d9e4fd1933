"""The numbers of a rehearsal: how long requests took, and what each statement did and when."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from slipway.locks import Mode, strongest
from slipway.rehearse.model import CONTROL, READS, Rehearsal, Request, TracedStatement


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long requests took, in seconds, those that failed included; zeros without requests."""

    requests: int
    failures: int
    p50: float
    p99: float
    longest: float


@dataclass(frozen=True, kw_only=True)
class TableStats:
    name: str
    reads: Latency
    writes: Latency

    @property
    def longest(self) -> float:
        return max(self.reads.longest, self.writes.longest)

    @property
    def failures(self) -> int:
        return self.reads.failures + self.writes.failures

    def is_slow(self, seconds: float) -> bool:
        """Whether a request failed or took longer than this."""
        return self.failures > 0 or self.longest > seconds


def table_stats(rehearsal: Rehearsal) -> tuple[TableStats, ...]:
    """The tables of a rehearsal: first those with failures and long stalls."""
    reads: dict[str, list[Request]] = defaultdict(list)
    writes: dict[str, list[Request]] = defaultdict(list)
    for request in rehearsal.requests:
        if request.kind != CONTROL:
            (reads if request.kind in READS else writes)[request.table].append(request)
    found = [
        TableStats(name=name, reads=latency(reads[name]), writes=latency(writes[name]))
        for name in {*rehearsal.rows, *reads, *writes}
    ]
    return tuple(sorted(found, key=lambda table: (-table.failures, -table.longest, table.name)))


def noise(requests: Iterable[Request]) -> Latency:
    """What requests took that touch no table: differences below that are noise."""
    return latency([request for request in requests if request.kind == CONTROL])


def latency(requests: Sequence[Request]) -> Latency:
    seconds = sorted(request.seconds for request in requests)
    return Latency(
        requests=len(requests),
        failures=sum(bool(request.error) for request in requests),
        p50=percentile(seconds, 50),
        p99=percentile(seconds, 99),
        longest=seconds[-1] if seconds else 0,
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed (nearest rank)."""
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else 0


# ---- Statements


@dataclass(frozen=True, kw_only=True)
class StatementRun:
    """A statement that ran, once or `times` in a row; its transaction ended at `released`, and so
    did its locks."""

    started: float
    seconds: float
    released: float
    times: int = 1
    error: str = ""

    @property
    def ended(self) -> float:
        return self.started + self.seconds


@dataclass(frozen=True, kw_only=True)
class StatementStats:
    """A statement as it was traced, and all its runs under traffic; none if it was not reached."""

    statement: TracedStatement
    runs: tuple[StatementRun, ...]

    @property
    def blocking(self) -> Mapping[str, Mode]:
        """The tables whose reads or writes wait while it runs, whichever statement locked them."""
        locks = strongest(self.statement.held, self.statement.locks)
        return {table: mode for table, mode in locks.items() if mode.blocks_requests}

    @property
    def scanned_while_blocking(self) -> Mapping[str, int]:
        """The rows that it read, by table, while others waited for that or another table."""
        return self.statement.scanned if self.blocking else {}

    @property
    def seconds(self) -> float:
        """How long its runs took together, those that failed aside unless all did."""
        succeeded = [run.seconds for run in self.runs if not run.error]
        return sum(succeeded or (run.seconds for run in self.runs))

    @property
    def failed(self) -> tuple[StatementRun, ...]:
        return tuple(run for run in self.runs if run.error)


def statement_stats(rehearsal: Rehearsal) -> tuple[StatementStats, ...]:
    """The statements of all revisions in their order, as traced and as watched."""
    runs: dict[tuple[str, int, str], list[StatementRun]] = defaultdict(list)
    facts: dict[tuple[str, int, str], TracedStatement] = {}
    for statement in (*rehearsal.traced, *rehearsal.watched):
        facts.setdefault((statement.revision, statement.line, statement.sql), statement)
    for statement, released in _released(rehearsal):
        runs[statement.revision, statement.line, statement.sql].append(
            StatementRun(
                started=statement.started,
                seconds=statement.seconds,
                released=released,
                times=statement.times,
                error=statement.error,
            )
        )
    revisions = list(dict.fromkeys(revision for revision, _, _ in facts))
    return tuple(
        StatementStats(statement=statement, runs=tuple(runs[key]))
        for key, statement in sorted(facts.items(), key=lambda fact: revisions.index(fact[0][0]))
    )


def _released(rehearsal: Rehearsal) -> Iterator[tuple[TracedStatement, float]]:
    """Each watched statement with the end of its transaction: its own if it has none around it,
    that of the next statement that failed, or that of its revision."""
    ends = {applied.revision: applied.started + applied.seconds for applied in rehearsal.applied}
    found: list[tuple[TracedStatement, float]] = []
    for statement in sorted(rehearsal.watched, key=lambda one: one.started, reverse=True):
        ended = statement.started + statement.seconds
        if statement.error or statement.revision not in ends:
            ends[statement.revision] = ended
        released = ended if statement.autocommit else ends[statement.revision]
        found.append((statement, max(ended, released)))
    return reversed(found)
