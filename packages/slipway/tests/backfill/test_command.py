"""The command against a real PostgreSQL, as processes that others get in the way of."""

import re

import pytest

from packages.slipway.tests.backfill.service import FILL, Service
from packages.slipway.tests.processes import until
from slipway.backfill.walk import lock_key

QUICK = ("--pause", "0", "--batch-time", "60")


def test_every_row_that_needs_it_is_changed_once(service: Service) -> None:
    service.items(2500)
    service.sql("UPDATE items SET name = 'own' WHERE id % 10 = 0")
    service.write()

    answer = service.backfill("fill", "--format", "json", *QUICK)

    assert answer.code == 0, answer.errors
    assert answer.outcome["state"] == "done"
    assert answer.outcome["changed"] == 2250
    assert service.sql("SELECT DISTINCT touched FROM items") == [(1,)]
    assert service.sql("SELECT count(*) FROM items WHERE name = 'own'") == [(250,)]


@pytest.mark.slow
def test_a_second_run_finds_nothing_to_do(service: Service) -> None:
    service.items(100)
    service.write()
    service.backfill("fill")
    service.sql("INSERT INTO items VALUES (101)")

    assert service.backfill("fill", "--format", "json").outcome["changed"] == 1
    assert service.backfill("fill", "--format", "json").outcome["changed"] == 0
    assert service.sql("SELECT DISTINCT touched FROM items") == [(1,)]


@pytest.mark.slow
def test_a_function_changes_what_sql_cannot_say(service: Service) -> None:
    service.items(250)
    service.write(
        code="""
from sqlalchemy import text

def change(connection, rows):
    connection.execute(
        text("UPDATE items SET name = :name WHERE id = :id"),
        [{"id": row["id"], "name": str(row["id"])[::-1]} for row in rows],
    )

backfill = Backfill("items", change, where="name IS NULL")
"""
    )

    answer = service.backfill("fill", "--batch-size", "100", *QUICK)

    assert answer.code == 0, answer.errors
    assert service.sql("SELECT name FROM items WHERE id = 123") == [("321",)]
    assert service.sql("SELECT DISTINCT touched FROM items") == [(1,)]


@pytest.mark.representative
@pytest.mark.slow
def test_rows_that_others_hold_are_done_at_the_end(service: Service) -> None:
    service.items(1000)
    service.write()

    with service.history.transaction("UPDATE items SET seen = 1 WHERE id IN (5, 50, 500)"):
        process = service.start("fill", "--batch-size", "100", *QUICK)
        until(lambda: service.nameless() == 3)
    printed, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert printed == "fill: done, 1,000 rows changed\n"
    assert service.nameless() == 0
    assert service.sql("SELECT DISTINCT touched FROM items") == [(1,)]


@pytest.mark.slow
def test_a_row_that_refers_to_one_can_be_inserted_meanwhile(service: Service) -> None:
    service.items(10)
    service.sql("CREATE TABLE parts (item int REFERENCES items)")
    service.write()

    with service.history.transaction("INSERT INTO parts SELECT generate_series(1, 10)"):
        assert service.backfill("fill", LOCK_TIMEOUT="0.1").code == 0


@pytest.mark.slow
def test_rows_that_stay_locked_are_reported_with_who_holds_them(
    service: Service,
) -> None:
    service.items(1000)
    service.write()

    with service.history.transaction("UPDATE items SET seen = 1 WHERE id = 5"):
        [(pid,)] = service.sql("SELECT pid FROM pg_stat_activity WHERE state ~ 'idle in'")
        answer = service.backfill("fill", "--format", "json", LOCK_TIMEOUT="0.01")

    assert answer.code == 1
    assert answer.outcome["state"] == "unfinished"
    assert answer.outcome["changed"] == 999
    [holder] = answer.outcome["holders"]
    assert re.match(rf"pid {pid}, for \d+ s, idle in transaction: UPDATE items", holder)
    assert service.backfill("fill").code == 0
    assert service.nameless() == 0


@pytest.mark.slow
def test_a_second_process_says_who_does_it(service: Service) -> None:
    service.items(10)
    service.write()

    with service.history.transaction(f"SELECT pg_advisory_lock({lock_key('fill')})"):
        [(pid,)] = service.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
        answer = service.backfill("fill")

    assert answer.code == 3
    assert f"pid {pid}, since" in answer.errors.splitlines()[-1]
    assert service.nameless() == 10


@pytest.mark.slow
def test_two_processes_at_once_change_each_row_once(service: Service) -> None:
    service.items(5_000)
    service.write()

    processes = [service.start("fill", "--batch-size", "500", *QUICK) for _ in range(2)]
    printed = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], printed
    assert service.sql("SELECT DISTINCT touched FROM items") == [(1,)]


def test_a_run_that_was_killed_goes_on_where_it_stopped(service: Service) -> None:
    service.items(1000)
    service.write()
    with service.history.transaction("UPDATE items SET seen = 1 WHERE id = 1000"):
        process = service.start("fill", "--batch-size", "100", *QUICK, LOCK_TIMEOUT="60")
        until(lambda: service.nameless() == 1)
        process.kill()
        process.communicate()
    # What it would change again if it began anew.
    service.sql("ALTER TABLE items DISABLE TRIGGER touched")
    service.sql("UPDATE items SET name = NULL WHERE id <= 100")
    seen = service.progress()
    assert seen
    assert seen[0] == 1000

    answer = service.backfill("fill")

    assert answer.code == 0
    assert "Continues after 1,000 rows" in answer.errors
    assert service.nameless() == 0
    assert service.progress() == (1000, 1100, True)


def test_a_dry_run_finds_where_a_killed_run_stopped(service: Service) -> None:
    service.items(20_000)
    service.write()
    process = service.start("fill", "--batch-size", "2500", "--max-rows-per-second", "2500")
    until(lambda: service.progress() == (2500, 2500, False))
    process.kill()
    process.communicate()

    found = service.backfill("fill", "--dry-run", "--format", "json").outcome

    assert found["after"] == ["2500"]
    assert found["batches"] == 18
    assert service.progress() == (2500, 2500, False)
    answer = service.backfill("fill", *QUICK)
    assert answer.code == 0
    assert "after 2,500 rows" in answer.errors
    assert service.progress() == (20_000, 20_000, True)


@pytest.mark.slow
def test_what_is_written_differently_begins_anew(service: Service) -> None:
    service.items(1000)
    service.write()
    service.backfill("fill")
    service.sql("UPDATE backfill_progress SET finished_at = NULL, after = '{900}'")
    service.write(code=FILL.replace("'n'", "'new'"))
    service.sql("ALTER TABLE items DISABLE TRIGGER touched")
    service.sql("UPDATE items SET name = NULL WHERE id < 10")

    answer = service.backfill("fill")

    assert "Continues" not in answer.errors
    assert service.progress() == (1000, 9, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("""backfill = Backfill("items", "seen = seen + 1", where="true")""", "leaves out"),
        ("""backfill = Backfill("nowhere", "a = 1", where="a = 2")""", "no table nowhere"),
        ("""backfill = Backfill("keyless", "a = 1", where="a = 2")""", "no primary key"),
        ("""backfill = Backfill("items", "nope = 1", where="true")""", "nope"),
        ("""backfill = Backfill("items", "name = 1 +", where="true")""", "syntax error"),
        ("fill = 1", "no `backfill = Backfill"),
        ("import nowhere", "nowhere"),
        (
            """backfill = Backfill("items", lambda connection, rows: None, where="name IS NULL")""",
            "leaves out",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    service: Service, code: str, said: str
) -> None:
    service.items(10)
    service.sql("CREATE TABLE keyless (a int)")
    service.write(code=code)

    answer = service.backfill("fill")

    assert answer.code == 3
    assert said in answer.errors.splitlines()[-1]
    assert answer.printed == ""
    assert service.sql("SELECT DISTINCT touched, seen FROM items") == [(0, 0)]


@pytest.mark.slow
def test_an_unknown_name_is_reported_with_those_that_exist(service: Service) -> None:
    service.write("fill_names")
    service.write("lower_emails")

    answer = service.backfill("fill_name")

    assert answer.code == 3
    assert "there are: fill_names, lower_emails" in answer.errors
    assert service.backfill().printed.split() == ["fill_names", "lower_emails"]


@pytest.mark.slow
def test_the_folder_and_the_configuration_may_have_any_name(service: Service) -> None:
    service.write()
    folder = service.history.folder
    (folder / "migrations/backfills").rename(folder / "rows")
    (folder / "pyproject.toml").unlink()
    (folder / "shop.ini").write_text(
        "[shop]\nscript_location = %(here)s/migrations\n[slipway]\nbackfills = rows\n"
    )

    answer = service.backfill("-c", "shop.ini", "-n", "shop")

    assert (answer.code, answer.printed) == (0, "fill\n"), answer.errors
    answer = service.backfill(ALEMBIC_CONFIG=str(folder / "shop.ini"))
    assert answer.code == 3  # it has no section [alembic]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--batch-size=0", "--max-lag=-1", "--pause=x", "--no"])
def test_wrong_usage_is_reported_without_a_connection(service: Service, option: str) -> None:
    service.write()

    assert service.backfill("fill", option, URL="postgresql+asyncpg://nobody@/nowhere").code == 2


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_line(service: Service) -> None:
    service.write()

    answer = service.backfill("fill", URL="postgresql+asyncpg://app:s3cret@127.0.0.1:1/app")

    assert answer.code == 3
    assert "Cannot connect to" in answer.errors
    assert "s3cret" not in answer.errors


def test_a_dry_run_says_what_would_be_done_and_does_nothing(service: Service) -> None:
    service.items(20_000)
    service.sql("UPDATE items SET name = 'own' WHERE id > 4000")
    service.sql("ANALYZE items")
    before = service.sql("SELECT * FROM items ORDER BY id")
    service.write()

    found = service.backfill("fill", "--dry-run", "--format", "json").outcome

    assert found["counted"] == 4000
    assert found["rows"] == 20_000
    assert found["batches"] == 20
    assert found["scans"] is False
    assert any("Index" in line for line in found["plan"])
    assert service.sql("SELECT * FROM items ORDER BY id") == before
    assert service.progress() is None
    assert "4,000" in service.backfill("fill", "--dry-run").printed
    # What it shows is what psql takes.
    [boundary, batch] = found["statements"]
    assert service.sql(boundary) == [(1000, "1000")]
    assert service.sql(batch) == [(1000, 1000, 0)]


@pytest.mark.slow
def test_a_dry_run_on_an_empty_table_warns_of_nothing(service: Service) -> None:
    service.items(0)
    service.write()

    found = service.backfill("fill", "--dry-run", "--format", "json").outcome

    assert (found["counted"], found["scans"]) == (0, False)
