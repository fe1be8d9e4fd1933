"""The numbers, against their definitions."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.rehearse.model import AppliedRevision, Rehearsal, Request, TracedStatement
from slipway.rehearse.report.stats import latency, noise, percentile, statement_stats, table_stats

SECONDS = st.floats(0, 100)


def request(table: str, kind: str, seconds: float, error: str = "") -> Request:
    return Request(table=table, kind=kind, started=0, seconds=seconds, error=error)


def statement(sql: str, started: float, seconds: float = 1, **facts: object) -> TracedStatement:
    known = {"revision": "2", "file": "2.py", "line": 1, **facts}
    return TracedStatement(sql=sql, started=started, seconds=seconds, **known)  # type: ignore[arg-type]


def rehearsal(
    *,
    traced: Sequence[TracedStatement] = (),
    watched: Sequence[TracedStatement] = (),
    requests: Sequence[Request] = (),
    seconds: float = 10,
) -> Rehearsal:
    applied = AppliedRevision(
        revision="2", file="2.py", message="", phase="", started=0, seconds=seconds, attempts=1
    )
    return Rehearsal(
        base="1",
        postgresql="18",
        rows={"a": 1, "b": 2},
        rate=1,
        lock_timeout=1,
        applied=(applied,) if seconds else (),
        traced=tuple(traced),
        watched=tuple(watched),
        requests=requests,
        verdict="",
    )


# ---- Requests


@given(st.lists(SECONDS, min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], percent: int
) -> None:
    enough = [v for v in values if sum(w <= v for w in values) * 100 >= percent * len(values)]

    assert percentile(sorted(values), percent) == min(enough)


@given(st.lists(st.tuples(SECONDS, st.sampled_from(["", "canceled"]))))
def test_latency_counts_all_requests_and_the_failed_among_them(
    sent: list[tuple[float, str]],
) -> None:
    found = latency([request("a", "read", seconds, error) for seconds, error in sent])

    assert found.requests == len(sent)
    assert found.failures == sum(error == "canceled" for _, error in sent)
    assert found.longest == max((seconds for seconds, _ in sent), default=0)
    assert found.p50 <= found.p99 <= found.longest


def test_reads_and_writes_are_apart_and_the_control_is_nobodys() -> None:
    sent = [
        request("a", "read", 1),
        request("a", "page", 2),
        request("a", "insert", 3),
        request("a", "update", 4, "canceled"),
        request("", "control", 5),
    ]
    found = {table.name: table for table in table_stats(rehearsal(requests=sent))}

    assert set(found) == {"a", "b"}
    assert (found["a"].reads.requests, found["a"].reads.longest) == (2, 2)
    assert (found["a"].writes.requests, found["a"].writes.longest) == (2, 4)
    assert (found["a"].reads.failures, found["a"].writes.failures) == (0, 1)
    assert found["b"].reads.requests == found["b"].writes.requests == 0
    assert noise(sent).longest == 5


@given(st.lists(st.tuples(st.sampled_from("abcde"), SECONDS, st.sampled_from(["", "failed"]))))
def test_tables_that_somebody_noticed_come_first(sent: list[tuple[str, float, str]]) -> None:
    requests = [request(table, "read", seconds, error) for table, seconds, error in sent]
    noticed = [table.is_slow(0.1) for table in table_stats(rehearsal(requests=requests))]

    assert noticed == sorted(noticed, reverse=True)


# ---- Statements


def test_a_statement_has_what_was_traced_and_when_it_ran() -> None:
    traced = statement("ALTER", 100, locks={"a": "ACCESS EXCLUSIVE"}, rewritten=("a",))
    [step] = statement_stats(rehearsal(traced=[traced], watched=[statement("ALTER", 3, 2)]))

    assert step.statement == traced
    [run] = step.runs
    assert (run.started, run.ended) == (3, 5)


def test_its_locks_are_released_with_its_revision() -> None:
    watched = [statement("ALTER", 1), statement("UPDATE", 2), statement("SET", 3)]
    found = statement_stats(rehearsal(watched=watched, seconds=7))

    assert [run.released for step in found for run in step.runs] == [7, 7, 7]


def test_a_failed_attempt_releases_the_locks_of_its_transaction() -> None:
    watched = [
        statement("ALTER", 1, 1),
        statement("UPDATE", 2, 2, error="canceling statement due to lock timeout"),
        statement("ALTER", 6, 1),
        statement("UPDATE", 7, 1),
    ]
    first, second = statement_stats(rehearsal(watched=watched, seconds=9))

    assert [run.released for run in first.runs] == [4, 9]
    assert [run.released for run in second.runs] == [4, 9]
    assert second.seconds == 1
    assert [run.started for run in second.failed] == [2]


def test_what_runs_outside_a_transaction_releases_its_locks_itself() -> None:
    [step] = statement_stats(rehearsal(watched=[statement("CREATE INDEX", 1, 2, autocommit=True)]))

    assert [run.released for run in step.runs] == [3]


def test_a_statement_that_was_not_reached_has_no_runs() -> None:
    traced = [statement("ALTER", 1), statement("UPDATE", 2)]
    watched = [statement("ALTER", 1, error="lock timeout")]
    first, second = statement_stats(rehearsal(traced=traced, watched=watched, seconds=0))

    assert (len(first.runs), len(second.runs)) == (1, 0)
    assert first.runs[0].released == 2


def test_statements_stay_in_the_order_of_the_revisions() -> None:
    traced = [statement("A", 1), statement("C", 2, revision="3")]
    watched = [statement("A", 1), statement("B", 2), statement("C", 3, revision="3")]

    found = [
        step.statement.sql for step in statement_stats(rehearsal(traced=traced, watched=watched))
    ]

    assert found == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("locks", "held", "rows"),
    [
        ({"a": "ACCESS EXCLUSIVE"}, {}, {"a": 5}),
        ({}, {"b": "SHARE"}, {"a": 5}),
        ({"a": "SHARE UPDATE EXCLUSIVE"}, {}, {}),
        ({}, {}, {}),
    ],
)
def test_rows_are_read_under_a_blocking_lock_whoever_took_it(
    locks: dict[str, str], held: dict[str, str], rows: dict[str, int]
) -> None:
    traced = statement("UPDATE", 1, locks=locks, held=held, scanned={"a": 5})
    [step] = statement_stats(rehearsal(traced=[traced]))

    assert step.scanned_while_blocking == rows


@pytest.mark.slow
def test_a_real_rehearsal_has_its_stall_where_its_lock_was(rehearsal: Rehearsal) -> None:
    by_sql = {step.statement.sql: step for step in statement_stats(rehearsal)}
    rewrite = by_sql["ALTER TABLE items ALTER COLUMN amount TYPE bigint"]
    first = next(step for sql, step in by_sql.items() if "ADD COLUMN email" in sql)

    assert rewrite.statement.rewritten == ("items",)
    assert rewrite.scanned_while_blocking["items"] >= 50_000
    assert first.blocking["items"].name == "ACCESS EXCLUSIVE"
    assert first.failed
    slowest = max(rehearsal.requests, key=lambda r: r.seconds * (r.table == "items"))
    assert any(
        run.started < slowest.started + slowest.seconds and slowest.started < run.released
        for run in first.runs
    )
    without = replace(rehearsal, traced=())
    assert [step.runs for step in statement_stats(without)] == [
        step.runs for step in statement_stats(rehearsal)
    ]
