"""The running version in service: what it reports, and when."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from slipway.overlap.service import RefusedRequest, ServiceRequest, ServiceWorker


def request(kind: str, *sent: tuple[str, tuple[Any, ...]], extreme: bool = False) -> ServiceRequest:
    writes = not sent[0][0].startswith("SELECT")
    return ServiceRequest(table="t", kind=kind, writes=writes, is_extreme=extreme, sent=sent)


@pytest.fixture
def reported(
    server: str,
) -> Callable[[list[ServiceRequest], list[str]], list[list[RefusedRequest]]]:
    """Serve, and report what was refused after each of the changes."""

    async def serve(requests: list[ServiceRequest], changes: list[str]) -> list[Any]:
        engine = create_async_engine(make_url(server).set(drivername="postgresql+asyncpg"))
        worker = ServiceWorker(requests)
        task = asyncio.create_task(worker.work(engine))
        await worker.complete_round()
        found = []
        for change in changes:
            with psycopg.connect(server) as connection:
                connection.execute(change.encode())
            await worker.complete_round()
            await asyncio.sleep(0.1)  # as with two workers: a request is on its way
            found.append(worker.take())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.dispose()
        return found

    def reported(requests: list[ServiceRequest], changes: list[str]) -> list[Any]:
        with psycopg.connect(server) as connection:
            connection.execute("DROP TABLE IF EXISTS t")
            connection.execute("CREATE TABLE t (id int PRIMARY KEY, title text)")
            connection.execute("INSERT INTO t VALUES (1, 'one')")
        return asyncio.run(serve(requests, changes))

    return reported


READ = request("read", ("SELECT title FROM t WHERE id = $1::INTEGER", (1,)))
SLOW = request("slow", ("SELECT pg_sleep(0.3)", ()))
INSERT = request("insert", ("INSERT INTO t VALUES ($1::INTEGER, $2::VARCHAR)", (1, "one")))
LONGEST = request("longest", ("UPDATE t SET title = $1::VARCHAR", ("x" * 99,)), extreme=True)


def test_a_stale_plan_is_reported_once_where_it_happened(reported: Any) -> None:
    changes = [
        "ALTER TABLE t ALTER title TYPE varchar(9)",
        "ALTER TABLE t ADD a int",
        "ALTER TABLE t ADD b int",
    ]

    first, *others = reported([READ, SLOW], changes)

    assert [(refused.kind, refused.is_stale) for refused in first] == [("read", True)]
    assert others == [[], []]


def test_what_a_column_no_longer_holds_is_told_from_what_a_check_refuses(reported: Any) -> None:
    changes = [
        "ALTER TABLE t ADD CHECK (length(title) < 50) NOT VALID",
        "ALTER TABLE t DROP COLUMN title",
    ]

    checked, dropped = reported([LONGEST], changes)

    assert [refused.is_narrower for refused in checked] == [True]
    assert [refused.is_narrower for refused in dropped] == [False]


def test_what_failed_before_and_rows_that_exist_say_nothing(reported: Any) -> None:
    wrong = request("wrong", ("SELECT nothing FROM t", ()))

    assert reported([wrong, INSERT], ["ALTER TABLE t ADD a int"]) == [[]]
    [[refused]] = reported([wrong, INSERT], ["ALTER TABLE t ALTER title TYPE int USING 1"])
    assert (refused.kind, refused.is_stale, refused.is_narrower) == ("insert", False, False)
