"""docs/deployment.md on Compose: replicas behind HAProxy, and a new version that nobody notices."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from packages.slipway.tests.processes import run, until
from tests.containers.engine import Postgres, stack, unique_name
from tests.containers.test_migrate import REVISION, tables
from tests.project import Project, status

pytestmark = pytest.mark.docker

FILES = ("docker-compose.prod.yml", "mine.yml")
# What a user adds: the network with the database, and the proxy.
MINE = """
networks:
  default:
    name: {network}
    external: true

services:
  proxy:
    build:
      context: .
      dockerfile_inline: |
        FROM python:3.14-slim
        RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy >/dev/null
    command: haproxy -db -f /haproxy.cfg
    configs: [haproxy.cfg]
    ports: ["127.0.0.1:${{PORT}}:8080"]

configs:
  haproxy.cfg:
    file: haproxy.cfg
"""
# What the document leaves to the user.
HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s

frontend public
    bind :8080
    default_backend service

"""


def block(document: str, beginning: str) -> str:
    """The content of the block of code that begins like this."""
    return document.partition(f"```{beginning}\n")[2].partition("```")[0]


@contextmanager
def asked(url: str) -> Iterator[list[int | None]]:
    """Ask again and again; yields a list of the statuses, which grows."""
    statuses: list[int | None] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.02):
            statuses.append(status(url))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join()


def test_a_new_version_takes_over_behind_a_proxy_and_no_request_fails(
    project: Project, database: Postgres
) -> None:
    document = (project.path / "docs/deployment.md").read_text(encoding="utf-8")
    rollout = block(document, "console\n# with an engine")
    rollout = rollout.replace(FILES[0], " --file ".join(FILES)).replace("$ ", "")
    project.write("mine.yml", MINE.format(network=database.network))
    project.write("haproxy.cfg", HAPROXY + block(document, "haproxy"))
    url = database.create_database()
    project.write("database_url", url)
    settings = re.sub("FILE=.*", "FILE=./database_url", block(document, "\nVERSION=0.1.0"))
    project.write(".env", settings)

    with stack(project.path, *FILES, IMAGE=unique_name()) as production:
        first, second = (
            replace(production, variables={**production.variables, "VERSION": version})
            for version in ("1", "2")
        )
        Project(project.path, first.variables).just("build")
        first("up", "--detach", "--wait")
        project.write("src/migrations/versions/new.py", REVISION.format(sql="CREATE TABLE new ()"))
        Project(project.path, second.variables).just("build")
        old = first.containers("web")
        until(lambda: status(f"{first.url}/api/v1/users") == 200)

        with asked(f"{first.url}/api/v1/users") as statuses:
            run("sh", "-ec", rollout, cwd=project.path, variables=second.variables)

        new = second.containers("web")
        assert len(old) == len(new) == 2
        assert not {*old} & {*new}
        assert "new" in tables(database, url)
        assert set(statuses) == {200}
