"""The runner against a real PostgreSQL, as separate processes, with others in its way."""

import re
import signal
from typing import IO

import pytest

from packages.slipway.tests.history import History
from packages.slipway.tests.processes import until
from slipway.runner.advisory_lock import LOCK_KEY

TABLE = 'op.execute("CREATE TABLE items (id int PRIMARY KEY, name text)")'
COLUMN = 'op.execute("ALTER TABLE items ADD COLUMN note text")'
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'"
END_THE_SLEEP = SLEEPING.replace("pid", "pg_terminate_backend(pid, 60000)")


def add_slow(history: History) -> None:
    """Add a revision that sleeps after its change, while there is a row in the table `slow`."""
    history.add(COLUMN + '\nop.execute("SELECT pg_sleep(600) FROM slow")')  # noqa: S608
    history.sql("CREATE TABLE slow AS SELECT 1")


def read_until(output: IO[str] | None, pattern: str) -> str:
    assert output
    read = ""
    for line in output:
        read += line
        if re.search(pattern, line):
            return read
    raise AssertionError(read)


def test_what_an_upgrade_did_is_there_on_a_new_connection(history: History) -> None:
    history.add(TABLE)
    history.add(COLUMN)

    printed = history.upgrade()

    assert history.sql("SELECT id, name, note FROM items") == []
    assert history.at() == ["0002"]
    assert re.search(r"Applied 0001 in \d", printed)
    assert re.search(r"Applied 0002 in \d", printed)


@pytest.mark.representative
def test_replicas_that_start_at_once_apply_each_revision_once(history: History) -> None:
    history.add('op.execute("CREATE TABLE items (id int, name text)")')
    history.add("op.execute(\"INSERT INTO items VALUES (1, 'once')\")")
    history.add('create_index_concurrently("ix_items_id", "items", ["id"])')

    replicas = [history.start() for _ in range(5)]
    printed = [replica.communicate(timeout=120)[0] for replica in replicas]

    assert [replica.returncode for replica in replicas] == [0] * 5, printed
    assert history.sql("SELECT * FROM items") == [(1, "once")]
    assert history.at() == ["0003"]


def test_who_waits_says_for_whom_and_not_for_ever(history: History) -> None:
    history.add('op.execute("SELECT pg_sleep(600)")')
    first = history.start()
    until(lambda: history.sql(SLEEPING))

    code, printed = history.alembic(RUNNER_TIMEOUT="0.5")

    assert code == 1
    [(pid,)] = history.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
    assert re.search(rf"Waiting for another migration: migrate .*pid {pid}, since", printed)
    assert printed.splitlines()[-1].startswith("Another migration still runs")
    first.kill()
    first.communicate()


def test_a_database_at_head_is_left_alone_without_any_lock(history: History) -> None:
    history.add(TABLE)
    history.upgrade()

    with history.transaction(f"SELECT pg_advisory_lock({LOCK_KEY})"):
        history.upgrade(RUNNER_TIMEOUT="0")


def test_timeouts_hold_for_each_statement_of_a_migration(history: History) -> None:
    names = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
    shown = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    history.add(f'op.execute("CREATE TABLE shown AS SELECT {shown}")')

    history.upgrade(LOCK_TIMEOUT="0.7", STATEMENT_TIMEOUT="30")

    assert history.sql("SELECT * FROM shown") == [("700ms", "30s", "1min")]


@pytest.mark.representative
def test_somebody_in_the_way_is_tried_again_later(history: History) -> None:
    history.add(TABLE)
    history.upgrade()
    history.add(COLUMN)

    with history.transaction("SELECT * FROM items"):
        process = history.start(LOCK_TIMEOUT="0.1")
        read_until(process.stdout, "Attempt 1 of 10")
    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 0, printed
    assert history.at() == ["0002"]


def test_somebody_in_the_way_at_every_attempt_is_named(history: History) -> None:
    history.add(TABLE)
    history.upgrade()
    history.add(COLUMN)

    with history.transaction("SELECT name FROM items"):
        [(pid,)] = history.sql("SELECT pid FROM pg_stat_activity WHERE state ~ 'idle in'")
        code, printed = history.alembic(LOCK_TIMEOUT="0.5", ATTEMPTS="2")

    assert code == 1
    assert "Traceback" not in printed
    assert re.search(rf"pid {pid}, for \d+ s, idle in transaction: SELECT name", printed)
    assert history.at() == ["0001"]
    history.upgrade()


def test_a_revision_that_fails_is_one_line_and_leaves_nothing(history: History) -> None:
    history.add(TABLE)
    history.add(f'{COLUMN}\nop.execute("ALTER TABLE items DROP COLUMN nowhere")')

    code, printed = history.alembic()

    assert code == 1
    assert "Traceback" not in printed
    assert re.match(r"0002\.py, line \d+: .*nowhere", printed.splitlines()[-1])
    assert history.at() == ["0001"]
    assert history.sql("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []


KILLS = [
    signal.SIGKILL,
    pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("kill", KILLS)
def test_a_run_that_is_killed_is_continued_by_the_next(history: History, kill: int) -> None:
    history.add(TABLE)
    add_slow(history)
    process = history.start()
    until(lambda: history.sql(SLEEPING))

    process.send_signal(kill)
    process.communicate(timeout=60)
    history.sql(END_THE_SLEEP)  # the server would go on with it, for who was killed
    assert history.at() == ["0001"]
    history.sql("DELETE FROM slow")
    history.upgrade()

    assert history.at() == ["0002"]
    assert history.sql("SELECT note FROM items") == []


def test_a_database_ahead_of_the_code_is_nothing_to_do(history: History) -> None:
    history.add(TABLE)
    ahead = history.add(COLUMN)
    history.upgrade()
    history.forget(ahead)

    printed = history.upgrade()

    assert "ahead of this code" in printed.splitlines()[-1]
    assert history.at() == ["0002"]


def test_a_database_of_another_history_is_an_error(history: History) -> None:
    history.add(TABLE)
    history.sql("CREATE TABLE alembic_version (version_num varchar(32))")
    history.sql("INSERT INTO alembic_version VALUES ('another')")

    code, printed = history.alembic()

    assert code == 1
    assert "another" in printed.splitlines()[-1]
    assert "Traceback" not in printed


@pytest.mark.slow
def test_an_invalid_index_of_somebody_else_is_not_passed_over(history: History) -> None:
    history.add('op.execute("CREATE TABLE items (id int)")')
    history.upgrade()
    history.sql("INSERT INTO items VALUES (1), (1)")
    with pytest.raises(Exception, match=r"duplicate|unique"):
        history.sql("CREATE UNIQUE INDEX CONCURRENTLY ix_broken ON items (id)")
    history.add('op.execute("ALTER TABLE items ADD COLUMN note text")')

    for _ in range(2):  # whoever tries again, as a Job does, must not pass by that
        code, printed = history.alembic()

        assert code == 1
        assert "ix_broken" in printed.splitlines()[-1]
        assert history.at() == ["0001"]

    history.sql("DROP INDEX ix_broken")
    history.upgrade()
    assert history.at() == ["0002"]


@pytest.mark.slow
def test_downgrades_run_under_the_same_lock(history: History) -> None:
    history.add(TABLE, 'op.execute("DROP TABLE items")')
    history.upgrade()

    code, printed = history.alembic("downgrade", "base")

    assert code == 0, printed
    assert history.at() == []
    assert "Reverted 0001" in printed


@pytest.mark.slow
def test_commands_that_only_read_need_no_lock(history: History) -> None:
    history.add('op.execute("SELECT pg_sleep(600)")')
    first = history.start()
    until(lambda: history.sql(SLEEPING))

    assert history.alembic("current", RUNNER_TIMEOUT="0")[0] == 0
    first.kill()
    first.communicate()


@pytest.mark.slow
def test_an_empty_history_can_be_upgraded_and_reverted(history: History) -> None:
    history.forget(history.add(TABLE))

    assert history.alembic("upgrade", "head")[0] == 0
    assert history.alembic("downgrade", "base")[0] == 0
