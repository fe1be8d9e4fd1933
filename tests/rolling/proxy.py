"""HAProxy before the replicas, configured as it would be in production."""

import csv
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from packages.slipway.tests.processes import free_port, until

# The path that the proxy answers by itself.
PROXY = "/proxy"
CONFIGURATION = """\
global
    maxconn 500

defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout queue 5s
    # /health/ready answers within 2 s; without this, a check would have to end within `inter`.
    timeout check 3s
    retries 3
    option redispatch 1

frontend public
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string ok if {{ path {proxy} }}
    default_backend web

backend web
    balance roundrobin
    option httpchk GET /health/ready
    http-check expect status 200
    default-server check inter 250ms fastinter 100ms fall 2 rise 2
{servers}

frontend statistics
    bind 127.0.0.1:{statistics}
    stats enable
    stats uri /
"""


@dataclass(frozen=True)
class Proxy:
    url: str
    statistics: str

    def up(self) -> set[str]:
        """The replicas that get requests."""
        lines = httpx2.get(f"{self.statistics}/;csv").text.removeprefix("# ").splitlines()
        rows = csv.DictReader(lines)
        return {
            row["svname"]
            for row in rows
            if row["pxname"] == "web" and row["svname"] != "BACKEND" and row["status"] == "UP"
        }


@contextmanager
def proxied(ports: Sequence[int]) -> Iterator[Proxy]:
    """A proxy before replicas, which are called `web1`, `web2`, … at these ports."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "install Debian's package haproxy"
    port, statistics = free_port(), free_port()
    servers = [f"    server web{n} 127.0.0.1:{p}" for n, p in enumerate(ports, 1)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "haproxy.cfg")
        file.write_text(
            CONFIGURATION.format(
                port=port, statistics=statistics, proxy=PROXY, servers="\n".join(servers)
            )
        )
        process = subprocess.Popen([program, "-db", "-q", "-f", str(file)])
        proxy = Proxy(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{statistics}")
        try:
            until(lambda: _answers(statistics) or process.poll() is not None)
            assert process.poll() is None
            until(lambda: len(proxy.up()) == len(ports))
            yield proxy
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
