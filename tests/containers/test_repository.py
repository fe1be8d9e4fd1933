"""This repository's own Compose file, on a real engine."""

import socket
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.processes import run
from tests.project import status

pytestmark = pytest.mark.docker


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def compose(port: int) -> Iterator[list[str]]:
    command = ["docker", "compose", "--project-name", f"slipway-{port}"]
    yield command
    run(*command, "down", "--volumes", "--timeout", "2", "--rmi", "local", cwd=ROOT)


def test_a_clone_serves_the_default_service_migrated(compose: list[str], port: int) -> None:
    run(
        *(*compose, "up", "--build", "--quiet-pull", "--wait"),
        cwd=ROOT,
        variables={"PORT": str(port)},
    )

    assert status(f"http://127.0.0.1:{port}/docs") == 200
    assert status(f"http://127.0.0.1:{port}/api/v1/users") == 200
    assert run(*compose, "exec", "web", "id", "-u", cwd=ROOT).stdout.strip() != "0"
