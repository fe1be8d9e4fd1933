"""Who made readers and writers wait, by statements and requests with known times."""

from dataclasses import replace

import pytest

from slipway.rehearse.model import AppliedRevision, Rehearsal, Request, TracedStatement
from slipway.rehearse.traffic.blame import request_findings
from slipway.report import Finding

FILE = "/project/versions/r1.py"
ADD = TracedStatement(
    revision="r1",
    file=FILE,
    line=10,
    sql="ALTER TABLE acct ADD COLUMN x text",
    started=100.0,
    seconds=0.1,
    locks={"acct": "ACCESS EXCLUSIVE"},
)
INDEX = replace(ADD, line=11, sql="CREATE INDEX ON org (name)", locks={"org": "SHARE"})
FILL = replace(ADD, line=12, sql="UPDATE acct SET x = 1", started=100.1, seconds=3.0, locks={})
TRACED = [ADD, INDEX, FILL]
WATCHED = [replace(s, locks={}) for s in TRACED]
APPLIED = [
    AppliedRevision(revision="r1", file=FILE, message="", phase="", started=100.0, seconds=3.2),
]


def request(**parts: object) -> Request:
    return replace(
        Request(table="acct", kind="read", started=100.05, seconds=3.0),
        **parts,  # type: ignore[arg-type]
    )


def judged(
    *requests: Request, processes: int = 1, small: str = "", lock_timeout: float = 1
) -> list[Finding]:
    rehearsal = Rehearsal(
        base="",
        postgresql="18",
        rows={},
        rate=20,
        lock_timeout=lock_timeout,
        applied=tuple(APPLIED),
        traced=tuple(TRACED),
        watched=tuple(WATCHED),
        requests=requests,
        verdict="",
    )
    return list(request_findings(rehearsal, processes=processes, small_tables={small}))


def test_a_stall_names_the_lock_and_what_ran_under_it() -> None:
    [finding] = judged(request(), request(seconds=2.0))

    assert (finding.rule, finding.severity, finding.line) == ("request-stalled", "error", 10)
    assert "3.0 s" in finding.message
    assert "ACCESS EXCLUSIVE" in finding.message
    assert "line 12" in finding.message


def test_reads_do_not_wait_for_a_lock_that_blocks_writes() -> None:
    reads, writes = judged(request(table="org"), request(table="org", kind="update"))

    assert "SHARE" not in reads.message
    assert (writes.line, "SHARE" in writes.message) == (11, True)


@pytest.mark.parametrize("seconds", [0.9, 1.4])
def test_what_the_lock_timeout_and_the_machine_explain_is_no_stall(seconds: float) -> None:
    noise = request(table="", kind="control", seconds=0.5)

    assert judged(request(seconds=seconds), noise) == []


def test_a_small_table_may_wait() -> None:
    assert judged(request(), small="acct") == []


def test_failures_are_errors_and_counted_by_what_they_say() -> None:
    failed = request(kind="insert", seconds=0.1, error="UndefinedColumnError: age\nmore")

    [finding] = judged(failed, failed)

    assert (finding.rule, finding.severity, finding.line) == ("request-failed", "error", 10)
    assert "2 writes" in finding.message
    assert "UndefinedColumnError: age" in finding.message


def test_one_stale_plan_for_each_process_is_a_warning_and_more_are_errors() -> None:
    stale = request(seconds=0.1, error="<class 'InvalidCachedStatementError'>: changed")

    assert [f.rule for f in judged(stale)] == ["stale-plan"]
    assert [f.severity for f in judged(stale)] == ["warning"]
    assert [f.rule for f in judged(stale, stale)] == ["request-failed"]
    assert [f.rule for f in judged(stale, stale, processes=2)] == ["stale-plan"]


def test_what_happened_before_the_migration_is_not_its_fault() -> None:
    assert judged(request(started=90.0, error="gone")) == []


def test_what_fails_after_the_migration_is_its_fault() -> None:
    [finding] = judged(request(started=110.0, seconds=0.1, error="UndefinedColumnError: age"))

    assert finding.file.as_posix() == FILE


def test_a_failure_after_all_locks_is_that_of_the_last_change_of_its_table() -> None:
    [finding] = judged(request(started=110.0, seconds=0.1, error="InvalidCachedStatementError"))

    assert (finding.rule, finding.line) == ("stale-plan", ADD.line)


def test_without_a_lock_timeout_a_moment_is_no_stall() -> None:
    moment, stall = request(seconds=0.5), request(seconds=1.5)

    assert judged(moment, lock_timeout=0) == []
    assert [finding.rule for finding in judged(stall, lock_timeout=0)] == ["request-stalled"]
