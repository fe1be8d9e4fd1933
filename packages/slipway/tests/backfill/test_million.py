"""A million rows, in use all the time, filled by processes that are killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from packages.slipway.tests.backfill.service import Service
from packages.slipway.tests.processes import environment, until
from packages.slipway.tests.rows import ROOT

ROWS = 1_000_000
# Somebody who updates, inserts and locks rows all over the table, for as long as input is open.
WRITER = """
import random, select, sys
import psycopg

url, rows, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with psycopg.connect(url, autocommit=True) as connection:
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.001)[0]:
        row = random.randint(1, rows)
        connection.execute("UPDATE items SET seen = seen + 1 WHERE id = %s", [row])
        number += 2
        connection.execute("INSERT INTO items VALUES (%s)", [number])
        with connection.transaction():
            connection.execute("SELECT FROM items WHERE id = %s FOR UPDATE", [row])
            connection.execute("SELECT pg_sleep(0.002)")
"""


@contextmanager
def writers(url: str) -> Iterator[None]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(ROWS), str(ROWS + number)],
            cwd=ROOT,
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield
        for process in processes:
            process.communicate(timeout=60)
            assert process.returncode == 0, "a writer failed"
    finally:
        for process in processes:
            process.kill()


def is_at(service: Service, rows: int) -> bool:
    progress = service.progress()
    return progress is not None and progress[0] >= rows


@pytest.mark.slow
def test_a_million_rows_under_load_survive_kill_9_twice_and_are_each_touched_once(
    service: Service,
) -> None:
    service.items(ROWS)
    service.write()
    # By rows that are done, not by the clock; another two at each run.
    moments = [least + os.urandom(1)[0] % 20 for least in (10, 50)]
    options = ("fill", "--pause", "0", "--format", "json")

    with writers(service.history.url):
        for moment in moments:
            process = service.start(*options)
            until(partial(is_at, service, moment * ROWS // 100), seconds=300)
            assert process.poll() is None, "it was done before it could be killed"
            process.kill()
            _, errors = process.communicate()
            assert process.returncode == -9, errors
        answer = service.backfill(*options)

    assert answer.code == 0, answer.errors
    assert "Continues after" in answer.errors
    # All that were there are touched once; those that were inserted meanwhile, at most once.
    [(untouched,)] = service.sql("SELECT count(*) FROM items WHERE touched = 0 AND id <= 1000000")
    assert untouched == 0
    [(again,)] = service.sql("SELECT count(*) FROM items WHERE touched > 1")
    assert again == 0
    [(written,)] = service.sql("SELECT sum(seen) FROM items")
    assert int(str(written)) > 100
    progress = service.progress()
    assert progress
    assert progress[1] == service.sql("SELECT count(*) FROM items WHERE touched = 1")[0][0]
