"""Clients that stop half-way: they do not read their response, or do not send their body."""

import socket
import time
from contextlib import ExitStack

import httpx2
import psutil
import psycopg
import pytest

from packages.slipway.tests.processes import until
from tests.attacks.conftest import Serve, Service
from tests.project import DEADLINE, status

pytestmark = pytest.mark.slow

MIB = 2**20


def memory(service: Service) -> float:
    return float(psutil.Process(service.process.pid).memory_info().rss) / MIB


def write_large_page(service: Service) -> str:
    """Fill the largest page that the service allows; return its path."""
    user = httpx2.post(
        f"{service.url}/api/v1/users", json={"email": "a@example.com", "full_name": "Ada"}
    ).json()["id"]
    with psycopg.connect(service.database) as connection:
        connection.execute(
            "INSERT INTO posts (author_id, title, body) "
            "SELECT %s, 't', repeat('\U0001f600', 20000) FROM generate_series(1, 100)",
            [user],
        )
    return f"/api/v1/posts?limit=100&author_id={user}"


def connections(service: Service) -> list[object]:
    found = psutil.Process(service.process.pid).net_connections()
    return [
        each for each in found if each.status == "ESTABLISHED" and each.laddr.port == service.port
    ]


def client_of(service: Service, path: str) -> socket.socket:
    """A client with a small buffer, which has asked for a page."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(2 * DEADLINE)
    client.connect(("127.0.0.1", service.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return client


def test_clients_that_never_read_hold_no_memory(serve: Serve) -> None:
    with serve() as service:
        path = write_large_page(service)
        size = len(httpx2.get(service.url + path, timeout=DEADLINE).content) / MIB
        assert size > 5
        # What one page after the other takes at most is what the service keeps.
        for _ in range(3):
            httpx2.get(service.url + path, timeout=DEADLINE)
        before = memory(service)
        with ExitStack() as stack:
            clients = [stack.enter_context(client_of(service, path)) for _ in range(60)]
            for client in clients:
                client.recv(1, socket.MSG_PEEK)  # its response has begun

            until(lambda: len(connections(service)) < 10, 2 * DEADLINE)
            # Of 60 pages that were held for ever before, what one after the other leaves behind.
            until(lambda: memory(service) < before + 10 * size, 2 * DEADLINE)
            assert status(f"{service.url}/api/v1/users?limit=1") == 200


def test_a_client_that_reads_slowly_gets_all(serve: Serve) -> None:
    with serve() as service:
        path = write_large_page(service)
        whole = httpx2.get(service.url + path, timeout=DEADLINE).content
        received = bytearray()
        with client_of(service, path) as client:
            while part := client.recv(65_536):
                received += part
                time.sleep(0.01)

        assert bytes(received).partition(b"\r\n\r\n")[2] == whole


def test_bodies_that_do_not_come_take_no_place_and_no_time(serve: Serve) -> None:
    stalled = (
        b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )
    with serve(MAX_CONCURRENT_REQUESTS="50", REQUEST_TIMEOUT="300") as service:
        clients = [service.connect(stalled) for _ in range(60)]
        answers = {status(f"{service.url}/api/v1/users?limit=1") for _ in range(20)}

        assert answers == {200}
        for client in clients:
            client.settimeout(DEADLINE)
            assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
            client.close()
