"""Backfills with each driver, in projects of `alembic init` and in those of `slipway.env`."""

import re
import signal

import pytest

from packages.slipway.tests import commands
from packages.slipway.tests.backfill.service import Service
from packages.slipway.tests.drivers import Project, each_driver, matrix
from packages.slipway.tests.history import History
from packages.slipway.tests.processes import until
from packages.slipway.tests.stock import StockProject

QUICK = ("--pause", "0", "--batch-time", "60")
# Nothing in it is a parameter, whichever marks the driver has for them.
ODD = r"""backfill = Backfill(
    "items", "name = '100% :id $1 %s %(id)s ' || id", where="name IS NULL OR name LIKE '%old:x'"
)"""
BY_FUNCTION = """
from sqlalchemy import text

def change(connection, rows):
    connection.execute(
        text("UPDATE items SET name = :name WHERE id = :id"),
        [{"id": row["id"], "name": str(row["id"])[::-1]} for row in rows],
    )

backfill = Backfill("items", change, where="name LIKE '100%'")
"""


@pytest.fixture
def stock(history: History, driver: str, file: str) -> Service:
    return Service(StockProject(history.folder, history.url, driver, file))


@matrix(fast=[("psycopg", "alembic.ini"), ("asyncpg", "pyproject.toml")])
def test_a_stock_project_changes_each_row_once(stock: Service) -> None:
    stock.items(250)
    stock.sql("UPDATE items SET name = 'very old:x' WHERE id = 7")
    stock.write(code=ODD)
    stock.write("function", code=BY_FUNCTION)

    answer = stock.backfill("fill", "--batch-size", "100", *QUICK)

    assert answer.code == 0, answer.errors
    assert stock.sql("SELECT name FROM items WHERE id = 7") == [("100% :id $1 %s %(id)s 7",)]
    assert stock.sql("SELECT count(*) FROM items WHERE name LIKE '100%'") == [(250,)]
    answer = stock.backfill("function", "--batch-size", "100", *QUICK)
    assert answer.code == 0, answer.errors
    assert stock.sql("SELECT name FROM items WHERE id = 123") == [("321",)]
    assert stock.sql("SELECT max(touched) FROM items WHERE id <> 7") == [(2,)]


@matrix(fast=[("psycopg2", "pyproject.toml")])
def test_a_stock_project_continues_after_a_kill_where_the_dry_run_says(stock: Service) -> None:
    stock.items(20_000)
    stock.write(code=ODD)
    process = stock.start("fill", "--batch-size", "2500", "--max-rows-per-second", "2500")
    until(lambda: stock.progress() == (2500, 2500, False))
    process.kill()
    process.communicate()

    answer = stock.backfill("fill", "--dry-run", "--format", "json")

    assert answer.code == 0, answer.errors
    assert answer.outcome["after"] == ["2500"]
    assert answer.outcome["counted"] == 17_500
    assert answer.outcome["scans"] is False
    # What it shows is what psql takes.
    [boundary, batch] = answer.outcome["statements"]
    assert stock.sql(boundary) == [(1000, "3500")]
    assert stock.sql(f"BEGIN; {batch}; ROLLBACK") == []
    assert stock.progress() == (2500, 2500, False)
    answer = stock.backfill("fill", *QUICK)
    assert answer.code == 0, answer.errors
    assert stock.progress() == (20_000, 20_000, True)
    assert stock.sql("SELECT DISTINCT touched FROM items") == [(1,)]


@each_driver()
def test_a_stock_project_that_is_interrupted_continues_later(stock: Service) -> None:
    stock.items(20_000)
    stock.write()
    process = stock.start("fill", "--batch-size", "500", "--max-rows-per-second", "500")
    until(lambda: stock.progress() not in (None, (0, 0, False)))
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "Traceback" not in printed + errors
    assert stock.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []
    assert stock.backfill("fill", *QUICK).code == 0
    assert stock.sql("SELECT DISTINCT touched FROM items") == [(1,)]


@each_driver(fast=["psycopg"])
def test_without_a_server_a_stock_project_gets_one_line(stock: Service) -> None:
    stock.write()
    ini = stock.history.folder / "alembic.ini"
    ini.write_text(
        re.sub(
            "(?m)^(sqlalchemy.url = .*?)://.*", r"\1://app:s3cret@127.0.0.1:1/app", ini.read_text()
        )
    )

    for command in ("backfill", "fill"), ("verify",):
        answer = commands.slipway(stock.history.folder, *command, variables={})

        assert answer.code == 3
        [line] = answer.errors.splitlines()
        assert "127.0.0.1" in line
        assert "s3cret" not in line


@each_driver(fast=["psycopg"])
def test_a_project_of_slipway_env_changes_each_row_once(
    history: History, driver: str, file: str
) -> None:
    service = Service(Project(history.folder, history.url, driver, file))
    service.items(250)
    service.write(code=ODD)

    assert service.backfill("fill", "--dry-run").code == 0
    answer = service.backfill("fill", "--batch-size", "100", *QUICK)

    assert answer.code == 0, answer.errors
    assert service.sql("SELECT DISTINCT touched FROM items") == [(1,)]


@each_driver(fast=["psycopg"])
def test_a_locked_row_does_not_stop_a_stock_project_for_ever(stock: Service) -> None:
    # Its env.py sets no lock timeout.
    stock.items(10)
    stock.write()

    with stock.history.transaction("UPDATE items SET seen = 1 WHERE id = 5"):
        process = stock.start("fill", *QUICK)
        until(lambda: stock.nameless() == 1)
        until(lambda: stock.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
        until(lambda: not stock.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert "Attempt 1 of 10" in errors
