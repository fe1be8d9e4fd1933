"""A real PgBouncer between the runner and PostgreSQL."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from packages.slipway.tests.drivers import Project, each_driver
from packages.slipway.tests.history import History
from packages.slipway.tests.processes import as_nobody, free_port, until
from packages.slipway.tests.runner.test_run import TABLE

pytestmark = pytest.mark.slow

Pooled = Callable[..., History]


@pytest.fixture
def pooled(history: History, tmp_path: Path) -> Iterator[Pooled]:
    """The history's database as seen through PgBouncer with these settings."""
    started: list[subprocess.Popen[bytes]] = []
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "install Debian's package pgbouncer"

    def pooled(**settings: str) -> History:
        port = free_port()
        parameters = psycopg.conninfo.conninfo_to_dict(history.url)
        configuration = tmp_path / "pgbouncer.ini"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        configuration.write_text(
            "[databases]\n"
            f"history = host={parameters['host']} user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\n" + "\n".join(lines) + "\n"
        )
        configuration.chmod(0o644)
        started.append(
            subprocess.Popen([*as_nobody(), program, str(configuration)], stderr=subprocess.DEVNULL)
        )
        through = replace(history, url=f"postgresql://postgres@127.0.0.1:{port}/history")
        until(lambda: answers(port))
        return through

    yield pooled
    for process in started:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


# What users add so that clients with start-up parameters are let in: they are then lost.
IGNORED = (
    "options,lock_timeout,statement_timeout,idle_in_transaction_session_timeout,"
    "tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count"
)


@each_driver()
@pytest.mark.parametrize("settings", [{}, {"ignore_startup_parameters": IGNORED}])
def test_a_pooler_in_transaction_mode_is_refused_with_the_way_out(
    history: History, pooled: Pooled, settings: dict[str, str], driver: str, file: str
) -> None:
    through = pooled(pool_mode="transaction", **settings)
    shop = Project(history.folder, through.url, driver, file)
    shop.add(TABLE)

    code, printed = shop.alembic()

    assert code == 1
    assert "directly to PostgreSQL" in printed.splitlines()[-1]
    assert "Traceback" not in printed
    assert history.sql("SELECT to_regclass('items')") == [(None,)]


def test_a_direct_connection_beside_the_pooler_migrates(history: History, pooled: Pooled) -> None:
    history.add(TABLE)
    history.upgrade()

    assert pooled(pool_mode="transaction").sql("SELECT * FROM items") == []
