"""What tests make on a Docker engine, under names that nobody else has."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from packages.slipway.tests.processes import free_port, run, until
from tests.conftest import ROOT

# What an orchestrator that trusts nobody does with a container.
CONFINED = (
    *("--read-only", "--tmpfs", "/tmp"),  # noqa: S108
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run("docker", *arguments, cwd=ROOT, check=check)


def inspect(name: str) -> dict[str, Any]:
    [found] = json.loads(docker("inspect", name).stdout)
    return dict(found)


def unique_name() -> str:
    return f"slipway-{uuid4().hex[:12]}"


@contextmanager
def built(folder: Path, target: str) -> Iterator[str]:
    """An image of the project in `folder`, for as long as the block takes."""
    name = unique_name()
    docker("build", "--quiet", "--target", target, "--tag", name, str(folder))
    try:
        yield name
    finally:
        docker("image", "rm", "--force", name)


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL in a network of its own, in which its name is its host name."""

    name: str
    network: str
    password: str

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        database = unique_name()
        self.sql(f'CREATE DATABASE "{database}"', "postgres")
        return f"postgresql://postgres:{self.password}@{self.name}:5432/{database}"

    def sql(self, query: str, database: str) -> str:
        """The answer, unadorned; `database` is a name or a URL that ends with it."""
        psql = ("psql", "-X", "-A", "-t", "-U", "postgres", "-d", database.rpartition("/")[2])
        password = f"PGPASSWORD={self.password}"
        return docker("exec", "--env", password, self.name, *psql, "-c", query).stdout.strip()

    def run(self, image: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a container beside the database, to its end."""
        return docker("run", "--rm", *self.options(variables), image, *command, check=False)

    @contextmanager
    def running(self, image: str, *options: str, **variables: str) -> Iterator[str]:
        """A container beside the database; yields its name."""
        name = unique_name()
        docker("run", "--detach", "--name", name, *self.options(variables), *options, image)
        try:
            yield name
        finally:
            docker("rm", "--force", "--volumes", name)

    def options(self, variables: Mapping[str, str]) -> list[str]:
        named = [f"--env={name}={value}" for name, value in variables.items()]
        return [*CONFINED, f"--network={self.network}", *named]


@contextmanager
def postgres() -> Iterator[Postgres]:
    server = Postgres(unique_name(), unique_name(), uuid4().hex)
    docker("network", "create", server.network)
    try:
        docker(
            *("run", "--detach", "--name", server.name, "--network", server.network),
            *("--env", f"POSTGRES_PASSWORD={server.password}", "postgres:18"),
        )
        ready = ("exec", server.name, "pg_isready", "--host", "127.0.0.1")
        until(lambda: docker(*ready, check=False).returncode == 0)
        yield server
    finally:
        docker("rm", "--force", "--volumes", server.name, check=False)
        docker("network", "rm", server.network)


@dataclass(frozen=True)
class Stack:
    """A Compose project in `folder`."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def __call__(
        self, *arguments: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        files = [f"--file={file}" for file in self.files]
        return run(
            *("docker", "compose", *files, *arguments),
            cwd=self.folder,
            check=check,
            variables={**self.variables, **variables},
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.variables['PORT']}"

    def containers(self, service: str) -> list[str]:
        """The containers of a service that run."""
        return self("ps", "--quiet", service).stdout.split()


@contextmanager
def stack(folder: Path, *files: str, **variables: str) -> Iterator[Stack]:
    """A Compose project with a name and ports of its own; all of it is removed in the end."""
    name = unique_name()
    project = Stack(
        folder,
        {
            "COMPOSE_PROJECT_NAME": name,
            "PORT": str(free_port()),
            "DATABASE_PORT": str(free_port()),
            **variables,
        },
        files,
    )
    try:
        yield project
    finally:
        project("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
        label = f"label=com.docker.compose.project={name}"
        for image in docker("image", "ls", "--quiet", "--filter", label).stdout.split():
            docker("image", "rm", "--force", image)
