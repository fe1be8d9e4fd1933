"""Requests that end while their statement runs: by a time limit, or since the client hung up."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from packages.slipway.tests.processes import until
from tests.attacks.conftest import Serve, Service
from tests.project import DEADLINE

pytestmark = pytest.mark.slow

CLIENTS = 60


def get(service: Service, timeout: float = DEADLINE) -> int | None:
    try:
        return httpx2.get(f"{service.url}/api/v1/users", timeout=timeout).status_code
    except httpx2.TimeoutException:
        return None


def test_a_request_that_takes_too_long_in_a_statement_is_503(serve: Serve) -> None:
    with (
        serve(REQUEST_TIMEOUT="1", DATABASE_POOL_SIZE="3", DATABASE_POOL_TIMEOUT="30") as service,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        with service.locked("users"):
            late = Counter(clients.map(get, [service] * CLIENTS))
        afterwards = Counter(clients.map(get, [service] * CLIENTS))

    assert late == {503: CLIENTS}
    assert afterwards == {200: CLIENTS}
    assert "Traceback" not in service.log.read_text()
    assert {line["level"] for line in service.logged()} <= {"info", "warning"}


def test_clients_that_hang_up_leave_no_traceback_and_take_no_place(serve: Serve) -> None:
    with serve(DATABASE_POOL_SIZE="3") as service, ThreadPoolExecutor(CLIENTS) as clients:
        with service.locked("users"):
            hung_up = Counter(clients.map(get, [service] * CLIENTS, [0.3] * CLIENTS))
            assert hung_up[None] > 0
        until(lambda: service.waiting() == 0)
        afterwards = Counter(clients.map(get, [service] * CLIENTS))

    assert afterwards == {200: CLIENTS}
    assert "Traceback" not in service.log.read_text()
