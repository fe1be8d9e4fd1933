"""What statements do and who waits for them, in plain words."""

from collections.abc import Mapping

import pytest

from packages.slipway.tests.rehearse.report.test_stats import rehearsal, statement
from slipway.rehearse.report.describe import does, duration, more, needs, shown, waiting
from slipway.rehearse.report.stats import StatementStats, statement_stats


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("ALTER TABLE a ADD COLUMN b int", "Adds column b (a)"),
        ("ALTER TABLE s.a ADD b int, DROP COLUMN c", "Adds column b, drops column c (s.a)"),
        ("ALTER TABLE a ALTER b TYPE bigint", "Changes the type of b to bigint (a)"),
        ("ALTER TABLE a ALTER b SET NOT NULL", "Forbids NULL in b (a)"),
        ("ALTER TABLE a RENAME COLUMN b TO c", "Renames column b to c (a)"),
        ("ALTER TABLE a RENAME TO b", "Renames it to b (a)"),
        (
            "ALTER TABLE a ADD CONSTRAINT fk FOREIGN KEY (b) REFERENCES c (id) NOT VALID",
            "Adds foreign key fk, for new rows only (a)",
        ),
        (
            "ALTER TABLE a VALIDATE CONSTRAINT fk",
            "Checks existing rows for constraint fk (a)",
        ),
        ("CREATE INDEX i ON a (b)", "Builds index i on a"),
        ("CREATE INDEX CONCURRENTLY i ON a (b)", "Builds index i on a without blocking writes"),
        ("DROP TABLE a, b", "Drops table a, b"),
        ("ALTER TYPE mood ADD VALUE 'late'", "Adds value late (mood)"),
        ("UPDATE a SET b = 1", "Changes rows of a"),
        ("WITH x AS (SELECT 1) DELETE FROM a", "Deletes from a"),
        ("ALTER TABLE a CLUSTER ON i", "ALTER TABLE a CLUSTER ON i"),
        ("VACUUM", "VACUUM"),
        ("DO $$ BEGIN\n NULL; END $$", "DO $$ BEGIN NULL; END $$"),
        ("SELECT 1; SELECT 2", "SELECT 1; SELECT 2"),
        ("", ""),
    ],
)
def test_what_a_statement_does(sql: str, words: str) -> None:
    assert does(sql) == words


def step(
    locks: Mapping[str, str], held: Mapping[str, str] | None = None, *, error: str = ""
) -> StatementStats:
    """A statement of 2 ms in a revision of 1 s, perhaps after an attempt that failed."""
    traced = statement("ALTER TABLE a ADD b int", 0, locks=locks, held=held or {})
    watched = [statement(traced.sql, 0.998, 0.002)]
    if error:
        watched.insert(0, statement(traced.sql, 0.1, 0.3, error=error))
    [found] = statement_stats(rehearsal(traced=[traced], watched=watched, seconds=1))
    return found


@pytest.mark.parametrize(
    ("locks", "held", "who", "words"),
    [
        ({"a": "ACCESS EXCLUSIVE"}, {}, "everybody", "blocks reads and writes of a for 2 ms"),
        ({"a": "SHARE"}, {}, "writers", "blocks writes to a for 2 ms"),
        ({"a": "SHARE UPDATE EXCLUSIVE"}, {}, "nobody", "blocks nothing; took 2 ms"),
        ({}, {}, "nobody", "blocks nothing; took 2 ms"),
        (
            {"a": "SHARE ROW EXCLUSIVE", "b": "SHARE ROW EXCLUSIVE"},
            {},
            "writers",
            "blocks writes to a and b for 2 ms",
        ),
        (
            {"b": "ROW EXCLUSIVE"},
            {"a": "ACCESS EXCLUSIVE"},
            "everybody",
            "still blocks reads and writes of a for 2 ms",
        ),
        (
            {"b": "SHARE"},
            {"a": "ACCESS EXCLUSIVE"},
            "everybody",
            "blocks writes to b, still blocks reads and writes of a for 2 ms",
        ),
    ],
)
def test_who_waits_for_a_statement(
    locks: Mapping[str, str], held: Mapping[str, str], who: str, words: str
) -> None:
    assert waiting(step(locks, held)) == who
    assert needs(step(locks, held)) == words


def test_attempts_that_failed_are_told() -> None:
    timeout = "canceling statement due to lock timeout"

    assert more(step({"a": "SHARE"}, error=timeout)) == ["gave up after 300 ms"]
    assert more(step({"a": "SHARE"}, error="deadlock detected")) == ["failed after 300 ms"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.0021, "2.1 ms"),
        (0.0099999, "10 ms"),
        (0.0995, "100 ms"),
        (0.9994, "999 ms"),
        (0.9995, "1 s"),
        (1.234, "1.23 s"),
        (99.96, "100 s"),
        (12345, "12,345 s"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_commands_a_terminal_or_turns_text_around_is_not_shown() -> None:
    assert shown("é\x1b[2J\u202e\x00\ud800\nx\t日本") == "é\ufffd[2J\ufffd\ufffd\ufffd\nx\t日本"
