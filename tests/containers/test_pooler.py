"""The service behind PgBouncer in transaction mode, as the Kubernetes component configures it."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from packages.slipway.tests.processes import free_port, until
from tests.conftest import ROOT
from tests.containers.engine import Postgres, built, docker
from tests.project import status
from tests.rolling.load import failures, load

pytestmark = pytest.mark.docker

# Debian 12's PgBouncer, which other tests run, is too old for prepared statements.
DOCKERFILE = """\
FROM python:3.14-slim AS pgbouncer
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null
COPY --chmod=644 pgbouncer.ini userlist.txt /etc/pgbouncer/
USER nobody
CMD ["pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]
"""
CONFIGURATION = ROOT / "template/deploy/kubernetes/components/pgbouncer/pgbouncer.ini"
# Fewer than the connections of the service, so that each serves several of them.
SERVER_CONNECTIONS = 2
CHANGES = {
    r"host=\S+": "host={database.name}",
    r"auth_file = .*": "auth_file = /etc/pgbouncer/userlist.txt",
    r"server_tls_sslmode = .*": "server_tls_sslmode = disable",
    r"default_pool_size = .*": f"default_pool_size = {SERVER_CONNECTIONS}",
}


@pytest.fixture
def pooler(database: Postgres, tmp_path: Path) -> Iterator[str]:
    """A PgBouncer before the database; its host name."""
    configuration = CONFIGURATION.read_text()
    for pattern, value in CHANGES.items():
        configuration, found = re.subn(pattern, value.format(database=database), configuration)
        assert found == 1, pattern
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "pgbouncer.ini").write_text(configuration)
    (tmp_path / "userlist.txt").write_text(f'"postgres" "{database.password}"\n')
    with built(tmp_path, "pgbouncer") as image, database.running(image) as name:
        yield name


@dataclass(frozen=True)
class Service:
    """Where it answers, and its database without the pooler."""

    url: str
    database: str


@pytest.fixture
def service(
    database: Postgres, pooler: str, migrate_image: str, web_image: str
) -> Iterator[Service]:
    direct = database.create_database()
    assert database.run(migrate_image, DATABASE_URL=direct).returncode == 0
    pooled = direct.replace(f"@{database.name}:5432", f"@{pooler}:6432")
    port = free_port()
    published = f"--publish=127.0.0.1:{port}:8000"
    with database.running(web_image, published, DATABASE_URL=pooled):
        service = Service(f"http://127.0.0.1:{port}", direct)
        until(lambda: status(f"{service.url}/health/ready") == 200)
        yield service


def test_many_clients_share_few_connections(database: Postgres, service: Service) -> None:
    with load(service.url, control=LIVE) as requests:
        until(lambda: int(database.sql(USERS, service.database)) > 300, seconds=240)
        assert int(database.sql(CONNECTIONS, service.database)) <= SERVER_CONNECTIONS

    assert not [request for request in requests if request.failed]


def test_connections_that_the_server_ends_are_replaced(
    database: Postgres, service: Service
) -> None:
    with load(service.url, control=LIVE) as requests:
        until(lambda: int(database.sql(USERS, service.database)) > 100, seconds=240)
        ended = int(database.sql(END, service.database))
        # PgBouncer knows of each that ended when it has another in its place.
        until(lambda: int(database.sql(CONNECTIONS, service.database)) == SERVER_CONNECTIONS)
        back = time.monotonic()
        until(lambda: int(database.sql(USERS, service.database)) > 300, seconds=240)

    assert ended
    assert all(request.start < back for request in failures(requests))


def test_a_type_that_changed_is_an_error_until_the_pooler_starts_anew(
    database: Postgres, service: Service, pooler: str
) -> None:
    users = f"{service.url}/api/v1/users"
    assert status(users) == 200
    database.sql("ALTER TABLE users ALTER full_name TYPE text", service.database)
    # Without the pooler, only the first would fail.
    assert {status(users) for _ in range(10)} == {500}

    docker("restart", pooler)

    until(lambda: status(users) == 200)
    assert {status(users) for _ in range(10)} == {200}


LIVE = "/health/live"
USERS = "SELECT count(*) FROM users"
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
    AND application_name <> 'psql'
"""
# It waits until they have ended, for so many milliseconds.
END = CONNECTIONS.replace("count(*)", "count(pg_terminate_backend(pid, 60000))")
