"""The pooler's configuration, read by a real PgBouncer before a real PostgreSQL."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from packages.slipway.tests.processes import as_nobody, free_port, until
from packages.slipway.tests.runner.test_pooler import answers
from slipway import devdb
from tests.kubernetes.manifests import FOLDER
from tests.project import DEADLINE

pytestmark = pytest.mark.slow

# What differs in a cluster. The last one is not known to the PgBouncer of Debian 12.
CHANGES = {
    r"host=\S+ port=5432": "host={host}",
    r"listen_addr = .*": "listen_addr = 127.0.0.1",
    r"listen_port = .*": "listen_port = {port}",
    r"auth_file = .*": "auth_file = {users}",
    r"server_tls_sslmode = .*": "server_tls_sslmode = disable",
    r"max_prepared_statements = .*\n": "",
}


@pytest.fixture
def pgbouncer(folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """PgBouncer as it runs in the cluster, and the address of a database behind it."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    assert program, "install Debian's package pgbouncer"
    users, file = tmp_path / "userlist.txt", tmp_path / "pgbouncer.ini"
    users.write_text('"app" "right"\n')
    configuration = (folder / FOLDER / "components/pgbouncer/pgbouncer.ini").read_text()
    with devdb.temporary_server() as server:
        with psycopg.connect(server) as connection:
            connection.execute("CREATE ROLE app LOGIN PASSWORD 'right'")
        port = free_port()
        host = psycopg.conninfo.conninfo_to_dict(server)["host"]
        for pattern, value in CHANGES.items():
            value = value.format(host=host, port=port, users=users)
            configuration, found = re.subn(pattern, value, configuration)
            assert found == 1, pattern
        file.write_text(configuration)
        process = subprocess.Popen([*as_nobody(), program, str(file)], stderr=subprocess.DEVNULL)
        until(lambda: answers(port) or process.poll() is not None)
        yield process, f"host=127.0.0.1 port={port} dbname=postgres user=app"
        process.kill()
        process.wait(DEADLINE)


def test_only_users_with_their_password_are_let_in(
    pgbouncer: tuple[subprocess.Popen[bytes], str],
) -> None:
    _, address = pgbouncer
    with psycopg.connect(f"{address} password=right") as connection:
        assert connection.execute("SELECT current_user").fetchall() == [("app",)]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"{address} password=wrong")


def test_the_signal_of_its_stop_lets_a_transaction_end(
    pgbouncer: tuple[subprocess.Popen[bytes], str],
) -> None:
    process, address = pgbouncer
    with psycopg.connect(f"{address} password=right") as connection:
        connection.execute("SELECT 1")
        process.send_signal(signal.SIGINT)
        assert connection.execute("SELECT 2").fetchall() == [(2,)]
        connection.commit()
    process.wait(DEADLINE)
