"""A backfill and a standby that cannot follow."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from packages.slipway.tests.backfill.service import Service
from packages.slipway.tests.history import History
from packages.slipway.tests.processes import until
from packages.slipway.tests.runner.test_faults import postmaster, serves
from packages.slipway.tests.runner.test_run import read_until
from slipway import devdb
from slipway.devdb.server import find_binaries

SETTINGS = {"wal_level": "replica", "max_wal_senders": 4}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """A history on a server of its own, which lets standbys follow it."""
    with devdb.temporary_server() as url:
        history = History(tmp_path, url)
        for name, value in SETTINGS.items():
            history.sql(f"ALTER SYSTEM SET {name} = {value}")
        before = postmaster(history)
        os.kill(before.pid, signal.SIGKILL)
        # devdb starts it again.
        until(lambda: not before.is_running() and serves(history))
        yield history


@dataclass(frozen=True)
class Standby:
    url: str

    def sql(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query).fetchall()


@contextmanager
def standby(history: History) -> Iterator[Standby]:
    """A server that streams from the one of the history."""
    binaries = find_binaries()
    assert binaries
    primary = postmaster(history)
    folder = Path(tempfile.mkdtemp(prefix="standby-", dir="/tmp"))
    data = folder / "data"
    options: dict[str, Any] = {"cwd": folder}
    if os.getuid() == 0:  # which PostgreSQL refuses to be
        owner = {"user": primary.uids().real, "group": primary.gids().real}
        os.chown(folder, owner["user"], owner["group"])
        options |= owner | {"extra_groups": []}
        sockets = psycopg.conninfo.conninfo_to_dict(history.url)["host"]
        Path(str(sockets)).chmod(0o711)
    copy = ["-d", history.url, "-D", data, "-R", "--checkpoint=fast"]
    subprocess.run([binaries / "pg_basebackup", *map(str, copy)], check=True, **options)
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-h", "", "-k", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )
    try:
        found = Standby(f"postgresql://postgres@/postgres?host={folder}")
        until(lambda: serves(History(folder, found.url)))
        until(lambda: history.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))
        yield found
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_standby_that_is_behind_is_waited_for(history: History) -> None:
    service = Service(history)
    service.items(20_000)
    service.write()

    with standby(history) as replica:
        replica.sql("SELECT pg_wal_replay_pause()::text")
        # At this rate it takes longer than the standby may be behind.
        process = service.start("fill", "--max-rows-per-second", "5000", "--max-lag", "0.5")
        assert process.stderr
        read_until(process.stderr, "Waiting for standby")
        waiting = service.nameless()
        history.sql("SELECT pg_sleep(2)")
        assert service.nameless() == waiting
        assert waiting != 0

        replica.sql("SELECT pg_wal_replay_resume()::text")
        _, errors = process.communicate(timeout=60)

        assert process.returncode == 0, errors
        assert service.nameless() == 0
