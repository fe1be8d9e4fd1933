"""Constant reads and writes, as a process of their own.

`python -m tests.rolling.load URL CONTROL` works until its input ends, and prints its requests.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import httpx2

from packages.slipway.tests.processes import environment
from tests.conftest import ROOT
from tests.rolling.proxy import PROXY

CLIENTS = 4
CONTROL = "control"
# Enough to be there at any moment, little enough to leave the machine time.
PAUSE = 0.03
TIMEOUT = 30


@dataclass(frozen=True)
class Request:
    kind: str
    start: float
    seconds: float
    outcome: str
    retry_after: str | None = None

    @property
    def end(self) -> float:
        return self.start + self.seconds

    @property
    def failed(self) -> bool:
        return not self.outcome.startswith("2")


@contextmanager
def load(url: str, *, control: str = PROXY) -> Iterator[list[Request]]:
    """Let clients work until the block ends; the list then has their requests, and those for
    `control`, a path that must always be answered at once."""
    requests: list[Request] = []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rolling.load", url, control],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(ROOT)}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "ready\n"
            yield requests
            printed, _ = process.communicate(timeout=2 * TIMEOUT)
            requests += [Request(**fields) for fields in json.loads(printed)]
        finally:
            process.kill()


def failures(requests: Sequence[Request]) -> list[Request]:
    """Those that failed, none of them for `control` and each as a client can handle it: a 503 that
    says when to come again."""
    failed = [request for request in requests if request.failed]
    for request in failed:
        code, _, body = request.outcome.partition(" ")
        assert code == "503", request
        assert json.loads(body)["status"] == 503, request
        assert request.retry_after, request
        assert request.kind != CONTROL
    return failed


# ---- The process


async def _calls(client: httpx2.AsyncClient) -> AsyncIterator[tuple[str, str, str, Any]]:
    """What one client asks for, again and again; it works on a user of its own."""
    user = {"email": f"{uuid4()}@example.com", "full_name": "Ada"}
    found = (await client.post("/users", json=user)).raise_for_status().json()
    path = f"/users/{found['id']}"
    post = {"author_id": found["id"], "title": "Title", "body": "Body"}
    for number in count():
        yield "read", "GET", path, None
        yield "list", "GET", "/posts?limit=5", None
        new = {"email": f"{uuid4()}@example.com", "full_name": f"Ada {number}"}
        yield "insert", "POST", "/users", new
        yield "update", "PATCH", path, {"full_name": f"Ada {number}"}
        yield "insert post", "POST", "/posts", post


async def _work(
    url: str, requests: list[Request], warm: asyncio.Event, stop: asyncio.Event
) -> None:
    async with httpx2.AsyncClient(base_url=f"{url}/api/v1", timeout=TIMEOUT) as client:
        async for kind, method, path, body in _calls(client):
            # The last one begins when all is over: somebody may want to see that it succeeds.
            last = stop.is_set()
            sent = client.build_request(method, path, json=body)
            requests.append(await _send(client, kind, sent, time.monotonic()))
            warm.set()
            if last:
                return
            await asyncio.sleep(PAUSE)


async def _send(
    client: httpx2.AsyncClient, kind: str, sent: httpx2.Request, start: float
) -> Request:
    retry_after = None
    try:
        response = await client.send(sent)
        outcome = f"{response.status_code}"
        retry_after = response.headers.get("retry-after")
        if response.is_error:
            outcome += f" {response.text}"
    except httpx2.HTTPError as error:
        outcome = repr(error)
    return Request(kind, start, time.monotonic() - start, outcome, retry_after)


async def _control(url: str, path: str, requests: list[Request], stop: asyncio.Event) -> None:
    """Each of these has begun when it was due: one that comes late has waited for the machine."""
    async with httpx2.AsyncClient(base_url=url, timeout=TIMEOUT) as client:
        while not stop.is_set():
            due = time.monotonic() + PAUSE
            await asyncio.sleep(PAUSE)
            requests.append(await _send(client, CONTROL, client.build_request("GET", path), due))


async def _main(url: str, control: str) -> list[Request]:
    requests: list[Request] = []
    stop = asyncio.Event()
    warm = [asyncio.Event() for _ in range(CLIENTS)]
    async with asyncio.TaskGroup() as group:
        for event in warm:
            group.create_task(_work(url, requests, event, stop))
        group.create_task(_control(url, control, requests, stop))
        for event in warm:
            await event.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stop.set()
    return requests


if __name__ == "__main__":
    print(json.dumps([asdict(request) for request in asyncio.run(_main(*sys.argv[1:]))]))
