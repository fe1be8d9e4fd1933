"""What becomes of a run when the server itself fails."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from packages.slipway.tests.drivers import Project
from packages.slipway.tests.history import History
from packages.slipway.tests.processes import run, until
from packages.slipway.tests.runner.test_run import COLUMN, SLEEPING, TABLE, add_slow
from slipway import devdb

RUNNERS = "SELECT pid FROM pg_stat_activity WHERE application_name ~ '^migrate'"


@pytest.fixture(params=["asyncpg", "psycopg"])
def history(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[History]:
    """A history on a server of its own, which may be harmed."""
    with devdb.temporary_server() as url:
        yield Project(tmp_path, url, request.param)


def postmaster(history: History) -> psutil.Process:
    with psycopg.connect(history.url) as connection:
        parent = psutil.Process(connection.info.backend_pid).parent()
    assert parent
    return parent


def serves(history: History) -> bool:
    try:
        return bool(history.sql("SELECT 1"))
    except psycopg.OperationalError:
        return False


@pytest.mark.slow
def test_a_server_that_restarts_in_the_middle_is_one_line_and_the_next_run_continues(
    history: History,
) -> None:
    # The temporary server does not wait for the disk: a crash would lose the last commits.
    history.sql("ALTER SYSTEM SET synchronous_commit = on")
    history.sql("SELECT pg_reload_conf()")
    history.add(TABLE)
    add_slow(history)
    process = history.start()
    until(lambda: history.sql(SLEEPING))

    # devdb starts a server again that was killed.
    os.kill(postmaster(history).pid, signal.SIGKILL)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in printed, printed

    until(lambda: serves(history))
    assert history.at() == ["0001"]
    history.sql("DELETE FROM slow")
    history.upgrade()
    assert history.at() == ["0002"]
    assert history.sql("SELECT note FROM items") == []


@pytest.mark.slow
def test_a_server_that_dies_while_somebody_waits_is_one_line_for_both(history: History) -> None:
    history.add('op.execute("SELECT pg_sleep(60)")')
    first = history.start()
    until(lambda: history.sql(SLEEPING))
    second = history.start()
    until(lambda: len(history.sql(RUNNERS)) > 2)

    os.kill(postmaster(history).pid, signal.SIGKILL)

    for process in (first, second):
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "Traceback" not in printed, printed


@pytest.fixture
def small_disk(history: History, tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB on which the database puts its tables."""
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", folder, cwd=tmp_path)
    space = folder / "space"
    space.mkdir()
    os.chown(space, postmaster(history).uids().real, -1)
    history.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
    history.sql("ALTER DATABASE postgres SET default_tablespace = small")
    yield folder
    run("umount", "--lazy", folder, cwd=tmp_path)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_nothing_half_applied(
    history: History, small_disk: Path
) -> None:
    history.add(TABLE)
    history.upgrade()
    fill = "INSERT INTO items SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) AS n"
    history.add(f'{COLUMN}\nop.execute("{fill}")')

    code, printed = history.alembic()

    assert code == 1
    assert "No space left on device" in printed
    assert "Traceback" not in printed
    assert history.at() == ["0001"]
    assert history.sql("SELECT count(*) FROM items") == [(0,)]

    run("mount", "-o", "remount,size=64m", small_disk, cwd=small_disk)
    history.upgrade()
    assert history.sql("SELECT count(*) FROM items WHERE note IS NULL") == [(20000,)]
