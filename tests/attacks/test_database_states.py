"""States of the database that are not the service's doing: told in one line, answered with 503."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest

from packages.slipway.tests.processes import until
from tests.attacks.conftest import Serve, Service
from tests.project import DEADLINE, status

pytestmark = pytest.mark.slow


def create(service: Service, name: str) -> httpx2.Response:
    return httpx2.post(
        f"{service.url}/api/v1/users",
        json={"email": f"{name}@example.com", "full_name": name},
        timeout=DEADLINE,
    )


def assert_unavailable(service: Service, answer: httpx2.Response, sqlstate: str) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in service.log.read_text()
    warnings = [line["message"] for line in service.logged() if line["level"] == "warning"]
    assert any(sqlstate in message for message in warnings), warnings


@contextmanager
def setting(service: Service, name: str, value: str) -> Iterator[None]:
    """A setting that somebody gives the database, seen by new sessions."""
    service.sql(f"ALTER DATABASE postgres SET {name} = {value}")
    service.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    yield
    service.sql(f"ALTER DATABASE postgres RESET {name}")
    service.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_server_that_became_read_only_takes_the_service_out_until_it_is_back(
    serve: Serve,
) -> None:
    with serve() as service:
        assert create(service, "before").status_code == 201
        service.sql("ALTER DATABASE postgres SET default_transaction_read_only = on")
        service.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        until(lambda: create(service, "during").status_code == 503)
        assert_unavailable(service, create(service, "during"), "25006")
        until(lambda: not service.ready())
        # Connections that lead to a server that no longer writes are dropped, not kept for ever.
        service.sql("ALTER DATABASE postgres RESET default_transaction_read_only")

        until(service.ready)
        until(lambda: create(service, "after").status_code == 201)


@pytest.mark.parametrize(
    ("name", "value", "sqlstate"),
    [("statement_timeout", "100", "57014"), ("lock_timeout", "100", "55P03")],
)
def test_a_limit_of_the_server_is_503(serve: Serve, name: str, value: str, sqlstate: str) -> None:
    with serve() as service, setting(service, name, value):
        until(lambda: status(f"{service.url}/api/v1/users") == 200)
        with service.locked("users"):
            answer = httpx2.get(f"{service.url}/api/v1/users", timeout=DEADLINE)
        assert_unavailable(service, answer, sqlstate)
        assert status(f"{service.url}/api/v1/users") == 200


def test_a_statement_that_an_administrator_cancels_is_503(serve: Serve) -> None:
    with serve() as service, ThreadPoolExecutor(1) as clients, service.locked("users"):
        request = clients.submit(create, service, "cancelled")
        until(lambda: service.waiting() == 1)
        service.sql(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        assert_unavailable(service, request.result(), "57014")


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "53100", "53200"])
def test_what_the_server_gives_up_is_503(serve: Serve, sqlstate: str) -> None:
    """By a trigger that raises what a server says that has no more disk, memory or patience."""
    with serve() as service:
        service.sql(
            "CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'given up' USING ERRCODE = '{sqlstate}'; END $$; "
            "CREATE TRIGGER give_up BEFORE INSERT ON users EXECUTE FUNCTION give_up()"
        )
        assert_unavailable(service, create(service, "ada"), sqlstate)
        assert service.ready()
        service.sql("DROP TRIGGER give_up ON users")
        assert create(service, "ada").status_code == 201
