"""Readers and writers in a process of their own, and what they see of a schema that changes."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from packages.slipway.tests.processes import until
from packages.slipway.tests.rehearse.conftest import Database
from packages.slipway.tests.rehearse.shapes import SHAPES
from slipway.rehearse.traffic.blame import STALE_PLAN
from slipway.rehearse.traffic.client import Load, Traffic, TrafficError, traffic

SHOP = """
CREATE TABLE customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL
    UNIQUE, age int CHECK (age >= 18), joined timestamptz NOT NULL DEFAULT now());
CREATE TABLE "Order" (id uuid PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customer,
    note varchar(40) NOT NULL DEFAULT 'none', total numeric(10,2) NOT NULL);
CREATE TABLE log (line text)
"""
KINDS = {"read", "page", "insert", "update"}


@contextmanager
def working(database: Database, **options: object) -> Iterator[Traffic]:
    with traffic(Load(url=database.url, **{"rate": 100, **options})) as found:  # type: ignore[arg-type]
        yield found


@pytest.fixture
def shop(database: Database) -> Database:
    database.run(SHOP)
    database.fill(100)
    return database


@pytest.mark.slow
def test_every_table_is_read_and_written(shop: Database) -> None:
    before = time.monotonic()

    with working(shop) as found:
        pass

    kinds = {(request.table, request.kind) for request in found.requests}
    both = {(table, kind) for table in ("customer", "Order") for kind in KINDS}
    assert kinds == both | {("log", "page"), ("log", "insert"), ("", "control")}
    assert [request for request in found.requests if request.error] == []
    assert found.silent == {}
    assert sum(found.sent.values()) == len(found.requests)
    for request in found.requests:
        assert before < request.started < request.started + request.seconds < time.monotonic()
    inserted = shop.run('SELECT count(*), count(DISTINCT note) FROM "Order"')[0]
    assert inserted[0] >= 100 + found.sent["Order", "insert"]


@pytest.mark.slow
def test_a_machine_that_stands_still_is_seen_wherever_it_does(shop: Database) -> None:
    def orders() -> int:
        return int(shop.run('SELECT count(*) FROM "Order"')[0][0])

    with working(shop) as found:
        [process] = (
            child
            for child in psutil.Process().children()
            if "slipway.rehearse.traffic.worker" in child.cmdline()
        )
        process.suspend()
        time.sleep(0.5)
        there = orders()
        process.resume()
        until(lambda: orders() > there + 2)

    assert max(r.seconds for r in found.requests if r.kind == "control") > 0.4


@pytest.mark.slow
def test_columns_that_the_server_fills_are_left_to_it(shop: Database) -> None:
    with working(shop):
        pass

    [(newest,)] = shop.run("SELECT max(joined) > now() - interval '1 hour' FROM customer")
    assert newest
    assert shop.run("SELECT count(*) > 0 FROM \"Order\" WHERE note = 'none'") == [(True,)]


@pytest.mark.slow
def test_a_column_that_goes_is_an_error_of_those_that_know_it(shop: Database) -> None:
    with working(shop) as found:
        dropped = time.monotonic()
        shop.run("ALTER TABLE customer DROP COLUMN age")

    failed = {(r.table, r.kind) for r in found.requests if "UndefinedColumnError" in r.error}
    assert failed == {("customer", kind) for kind in KINDS}
    assert all(r.started + r.seconds > dropped for r in found.requests if r.error)


@pytest.mark.slow
def test_a_change_that_is_over_before_the_next_request_is_met_all_the_same(shop: Database) -> None:
    with working(shop, rate=1, workers=1) as found:
        shop.run("ALTER TABLE customer DROP COLUMN age")

    assert {r.kind for r in found.requests if r.table == "customer" and r.error} == KINDS


@pytest.mark.slow
def test_there_is_a_new_row_for_the_end_even_where_keys_allow_few(database: Database) -> None:
    database.run("CREATE TABLE few (id int PRIMARY KEY CHECK (id BETWEEN 1 AND 30))")
    database.fill(5)

    with working(database) as found:
        # Ten new rows are found that fit.
        until(lambda: database.run("SELECT count(*) FROM few") == [(5 + 9,)])
        changed = time.monotonic()

    assert found.silent == {}
    assert any(r.kind == "insert" and r.started > changed for r in found.requests)


@pytest.mark.slow
def test_a_column_that_is_left_alone_may_go(shop: Database) -> None:
    columns = {"public": {"customer": ["id", "email", "joined"], "log": ["line"]}}

    with working(shop, columns=columns) as found:
        shop.run("ALTER TABLE customer DROP COLUMN age", 'DROP TABLE "Order"')

    assert [r for r in found.requests if r.error and STALE_PLAN not in r.error] == []
    assert {r.table for r in found.requests} == {"customer", "log", ""}
    assert found.sent["customer", "insert"]


@pytest.mark.slow
def test_a_table_is_not_written_without_a_column_that_it_needs(shop: Database) -> None:
    with working(shop, columns={"public": {"Order": ["id", "total"]}}) as found:
        pass

    assert "customer_id" in found.silent["Order"]
    assert ("Order", "insert") not in found.sent
    assert found.sent["Order", "update"]
    assert found.sent["Order", "read"]


@pytest.mark.slow
def test_a_plan_that_became_stale_is_told_from_other_errors(shop: Database) -> None:
    with working(shop) as found:
        shop.run("ALTER TABLE customer ALTER COLUMN age TYPE bigint")

    errors = [request for request in found.requests if request.error]
    assert errors
    assert all(STALE_PLAN in request.error for request in errors), errors
    assert {request.table for request in errors} == {"customer"}


@pytest.mark.slow
def test_requests_that_wait_for_a_lock_show_how_long(shop: Database) -> None:
    waiting = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'customer'::regclass"
    with working(shop) as found, psycopg.connect(shop.url) as migration:
        migration.execute("LOCK TABLE customer")
        # Its reader and its writer, and whoever checks a foreign key.
        until(lambda: len(shop.run(waiting)) == 3)
        seen = time.monotonic()
        time.sleep(2)
        released = time.monotonic()
        migration.rollback()

    waited = [r for r in found.requests if r.started < seen and r.started + r.seconds > released]
    assert [r.table for r in waited].count("customer") == 2
    assert "Order" in {r.table for r in waited}
    assert any(r.table == "" and seen < r.started < released for r in found.requests)


@pytest.mark.slow
def test_workers_outlive_a_server_that_ends_their_connections(shop: Database) -> None:
    with working(shop) as found:
        shop.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'rehearse: traffic'"
        )
        ended = time.monotonic()

    assert any(request.error for request in found.requests)
    assert any(r.started > ended and not r.error for r in found.requests)


@pytest.mark.slow
def test_a_table_that_takes_no_more_rows_is_only_read(database: Database) -> None:
    database.run("CREATE TABLE single (id boolean PRIMARY KEY CHECK (id), rate int)")
    database.fill(50)

    with working(database) as found:
        pass

    assert "single_pkey" in found.silent["single"]
    assert {kind for table, kind in found.sent if table} == {"read", "page", "update"}
    assert [request for request in found.requests if request.error] == []


@pytest.mark.slow
def test_what_a_table_never_takes_is_not_sent(database: Database) -> None:
    database.run(
        "CREATE TABLE entry (id int PRIMARY KEY, line text);"
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'append only'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON entry FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    database.fill(50)

    with working(database) as found:
        pass

    assert "append only" in found.silent["entry"]
    assert {kind for table, kind in found.sent if table} == {"read", "page", "insert"}
    assert [request for request in found.requests if request.error] == []


@pytest.mark.slow
def test_tables_of_any_shape_are_served(database: Database) -> None:
    named = {"odd names", "checks over columns", "partitions", "an exclusion constraint"}
    for shape in SHAPES:
        if shape.name in named:
            database.run(shape.ddl)
    database.fill(50)

    with working(database, rate=20) as found:
        pass

    assert [request for request in found.requests if request.error] == []
    tables = {table for table, _ in found.sent}
    assert {"Other Schema.T \"q\" 't'", "t", "m", "l", "booking", "user"} < tables


@pytest.mark.slow
def test_a_database_that_is_not_there_is_one_sentence(database: Database) -> None:
    url = database.url.replace("/rehearse_", "/nothing_")

    with pytest.raises(TrafficError, match="does not exist"), traffic(Load(url=url)):
        pass


@pytest.mark.slow
def test_a_process_that_does_not_end_is_one_sentence(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_the_process() -> None:
        monkeypatch.setattr("slipway.rehearse.traffic.client.TO_END", 0.1)
        for children in Path("/proc/self/task").glob("*/children"):
            for pid in map(int, children.read_text().split()):
                if b"slipway.rehearse.traffic.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(TrafficError, match="did not end"), traffic(Load(url=shop.url)):
        stop_the_process()
