"""A history of migrations with the runner, without models."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from packages.slipway.tests.commands import run
from packages.slipway.tests.processes import environment

CONFIGURATION = """
[tool.alembic]
script_location = "%(here)s/migrations"
"""

# What an env.py of a project is, with its settings from the environment.
ENV = """
import os
from slipway.env import Policy, configure_logging, run

number = lambda name, default: float(os.environ.get(name, default))
policy = Policy(
    lock_timeout=number("LOCK_TIMEOUT", 1),
    statement_timeout=number("STATEMENT_TIMEOUT", 60),
    runner_timeout=number("RUNNER_TIMEOUT", 60),
    attempts=int(number("ATTEMPTS", 10)),
)
configure_logging()
run(None, url=os.environ["URL"], policy=policy)
"""

REVISION = """
import sqlalchemy as sa
from alembic import op
from slipway.operations import *

revision = "{revision}"
down_revision = {before!r}


def upgrade():
{upgrade}


def downgrade():
{downgrade}
"""


@dataclass(frozen=True)
class History:
    folder: Path
    url: str

    @property
    def _url(self) -> str:
        return self.url.replace("postgresql://", "postgresql+asyncpg://")

    @property
    def _versions(self) -> Path:
        return self.folder / "migrations/versions"

    def add(self, upgrade: str, downgrade: str = "pass") -> str:
        """Add a revision with this code on top; return its name: 0001, 0002 and so on."""
        self._versions.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "migrations/env.py").exists():
            self.configure()
        number = len(list(self._versions.glob("*.py"))) + 1
        before = f"{number - 1:04}" if number > 1 else None
        bodies = {
            name: "\n".join("    " + line for line in code.strip().splitlines())
            for name, code in [("upgrade", upgrade), ("downgrade", downgrade)]
        }
        code = REVISION.format(revision=f"{number:04}", before=before, **bodies)
        (self._versions / f"{number:04}.py").write_text(code)
        return f"{number:04}"

    def configure(self) -> None:
        """Write Alembic's configuration and env.py."""
        (self.folder / "pyproject.toml").write_text(CONFIGURATION)
        (self.folder / "migrations/env.py").write_text(ENV)

    def forget(self, revision: str) -> None:
        """Remove a revision from the code, as rolling back a release does."""
        (self._versions / f"{revision}.py").unlink()

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Let a command run in a process of its own that starts from nothing."""
        return self.program("-m", "alembic", *(command or ("upgrade", "head")), **variables)

    def program(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start Python in the project's folder."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment(
                {
                    "URL": self._url,
                    "COLUMNS": "200",
                    **variables,
                }
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def alembic(self, *command: str, **variables: str) -> tuple[int, str]:
        """The exit code of an Alembic command (by default `upgrade head`) and what it printed."""
        return self.run(command or ("upgrade", "head"), **variables)

    def run(self, *commands: Sequence[str], **variables: str) -> tuple[int, str]:
        """Run commands one after the other until one fails; its exit code, and what all printed."""
        return run(self.folder, commands, {"URL": self._url, **variables})

    def upgrade(self, **variables: str) -> str:
        code, printed = self.alembic(**variables)
        assert code == 0, printed
        return printed

    def sql(self, query: str) -> list[tuple[object, ...]]:
        """Run a statement on a connection of its own; return its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self, statement: str) -> Iterator[None]:
        """Somebody else's transaction, open after this statement until the block ends."""
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)
            yield

    def at(self) -> list[object]:
        return [row[0] for row in self.sql("SELECT version_num FROM alembic_version")]
