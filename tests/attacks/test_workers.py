"""Several workers during a stop: a connection is refused at once, or served to its end."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from packages.slipway.tests.processes import until
from tests.attacks.conftest import Serve, Service
from tests.project import DEADLINE

pytestmark = pytest.mark.slow


def read(service: Service) -> int:
    return httpx2.get(f"{service.url}/api/v1/users", timeout=DEADLINE).status_code


def refused(service: Service) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", service.port)) != 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_new_connections_are_refused_while_the_last_requests_run(
    serve: Serve, workers: str
) -> None:
    with serve(WORKERS=workers) as service, ThreadPoolExecutor(4) as clients:
        with service.locked("users"):
            requests = [clients.submit(read, service) for _ in range(4)]
            until(lambda: service.waiting() == 4)
            service.process.terminate()
            until(lambda: refused(service))
            for _ in range(5):
                time.sleep(0.2)
                assert refused(service)
            assert not any(request.done() for request in requests)

        assert [request.result() for request in requests] == [200] * 4
        service.process.wait(DEADLINE)
