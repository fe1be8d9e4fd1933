"""What a rehearsal saw: the statements of the migrations, and the requests meanwhile.

Moments are seconds of `time.monotonic`, which all processes of a machine share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway.report import Finding

# What a request does; `CONTROL` touches no table.
READS, WRITES, CONTROL = frozenset({"read", "page"}), frozenset({"insert", "update"}), "control"


@dataclass(frozen=True, kw_only=True)
class TracedStatement:
    """A statement of a revision as PostgreSQL ran it.

    `locks` are the strongest it took on each table that was there before its revision, `held` the
    strong ones that its transaction already had; `rewritten` are the tables that got a new file,
    `scanned` those that were read from end to end, with the rows read. `server` is what PostgreSQL
    said of it (at `client_min_messages = debug1`).
    """

    revision: str
    file: str
    line: int
    sql: str
    started: float
    seconds: float
    autocommit: bool = False
    times: int = 1
    locks: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    rewritten: tuple[str, ...] = ()
    scanned: Mapping[str, int] = field(default_factory=dict)
    server: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a reader or writer sent: a `read` by key, a `page`, an `insert` or an `update`.

    One of the kind `control` touches no table: what it waits for is the machine.
    """

    table: str
    kind: str
    started: float
    seconds: float
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class AppliedRevision:
    """A revision that the runner applied under traffic, in as many attempts as it needed."""

    revision: str
    file: str
    message: str
    phase: str
    started: float
    seconds: float
    attempts: int = 1


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """All of a rehearsal on top of the revision `base`, with this many `rows` in each table.

    `traced` are the statements as they were tried alone, which shows what they lock; `watched` the
    same under traffic, which shows when and for how long, each attempt by itself. `rate` is in
    requests per second to each table, `lock_timeout` in seconds, `verdict` one line.
    """

    base: str
    postgresql: str
    rows: Mapping[str, int]
    rate: float
    lock_timeout: float
    applied: tuple[AppliedRevision, ...]
    traced: tuple[TracedStatement, ...]
    watched: tuple[TracedStatement, ...]
    requests: Sequence[Request]
    verdict: str


@dataclass(frozen=True, kw_only=True)
class RehearsalOptions:
    """`rows` in each table, unless a `seed` (SQL) or a `dump` (for pg_restore) brings some; `rate`
    requests per second to each table, by `workers`."""

    rows: int = 1000
    rate: float = 20
    workers: int = 2
    seed: Path | None = None
    dump: Path | None = None


@dataclass(frozen=True, kw_only=True)
class RehearsalResult:
    """`unfilled` says of tables that stayed empty, or got fewer rows, why; `silent` of tables that
    did not get all kinds of requests."""

    rehearsal: Rehearsal
    findings: tuple[Finding, ...]
    unfilled: tuple[str, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)
