"""Upgrades to websocket: the service takes none, and none outlives the limits on connections."""

import socket
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from packages.slipway.tests.processes import until
from tests.attacks.conftest import Serve, Service
from tests.project import DEADLINE

pytestmark = pytest.mark.slow

KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
UPGRADE = b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
ATTACKS = {
    "POST with a body": b"POST /x HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 2\r\n\r\n{}",
    "GET with a body": b"GET /x HTTP/1.1\r\n" + UPGRADE + KEY + b"Content-Length: 2\r\n\r\n{}",
    "GET without a key": b"GET /api/v1/users HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    "a right handshake": b"GET /api/v1/users HTTP/1.1\r\n" + UPGRADE + KEY + b"\r\n",
    "POST in chunks": b"POST /x HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n2",
}


def ends(client: socket.socket, drip: bytes = b"") -> bytes:
    """What the client gets until the service ends the connection, which it must do in time."""
    client.settimeout(1)
    received, ended = b"", False

    def read() -> bool:
        nonlocal received, ended
        try:
            part = client.recv(65_536)
            received += part
            ended = not part
            client.sendall(drip)
        except TimeoutError:
            pass
        except OSError:
            ended = True
        return ended

    until(read, 2 * DEADLINE)
    return received


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_upgrade_is_answered_and_its_connection_ends(serve: Serve, attack: str) -> None:
    with serve() as service, service.connect(ATTACKS[attack]) as client:
        answer = ends(client, drip=b"x")

        assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 2")
        assert b" 101 " not in answer
        assert not [line for line in service.logged() if line["level"] == "error"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_answers_what_is_under_way_with_upgrades_around(serve: Serve, workers: str) -> None:
    def read(service: Service) -> int:
        return httpx2.get(f"{service.url}/api/v1/users", timeout=DEADLINE).status_code

    with serve(WORKERS=workers) as service, ThreadPoolExecutor(5) as clients:
        with service.locked("users"):
            requests = [clients.submit(read, service) for _ in range(5)]
            until(lambda: service.waiting() == 5)
            attacks = [service.connect(attack) for attack in ATTACKS.values() for _ in range(4)]
            service.process.terminate()
            until(lambda: not service.ready())

        assert [request.result() for request in requests] == [200] * 5
        service.process.wait(DEADLINE)
        for client in attacks:
            client.close()
    assert "Traceback" not in service.log.read_text()
