"""Lets the version that is running serve while the revisions of this one are applied."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from slipway import interrupts
from slipway.overlap.checkout import Checkout, last_line, run_redirected
from slipway.project.configuration import ProjectError
from slipway.project.source import Source
from slipway.rehearse.seeding.catalogue import (
    CatalogTable,
    read_tables,
    read_tables_at,
    with_checks_of,
)
from slipway.rehearse.seeding.rows import fill
from slipway.scratch import Database, environment

SERVICE = Path(__file__).parent / "service.py"
# The service looks at a few rows of each table.
ROWS = 10


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong for the old version once a revision was applied, or for the revision itself.

    `is_stale` where the statement would have worked in a new process, `is_extreme` where its values
    are not of a row but those that a column has just room for.
    """

    revision: Source
    error: str
    table: str = ""
    kind: str = ""
    sql: str = ""
    is_stale: bool = False
    is_extreme: bool = False


@dataclass(frozen=True)
class Warm:
    """`untried` are the tables without rows, for which hardly anything was sent."""

    failures: tuple[Failure, ...]
    untried: tuple[str, ...]


def upgrade_under_service(
    old: Checkout,
    database: Database,
    root: Path,
    revisions: Sequence[Source],
    *,
    later: Database | None,
) -> Warm:
    """Put rows into a database of the old version, let that serve, and apply the revisions.

    After each revision the old version sends all its statements once more, so that what fails is
    known to be the work of that one.

    Args:
        later: a database that has the schema to come, whose checks the rows meet too.

    Raises:
        ProjectError: the old version does not work on its own schema.
    """
    interrupts.run(_fill(database, interrupts.run(read_tables_at(later.url)) if later else ()))
    failures: list[Failure] = []
    with _served(old, database) as service:
        untried = tuple(service.answer()["empty"])
        for revision in revisions:
            if error := upgrade(root, database, revision.revision):
                failures.append(Failure(revision=revision, error=error))
                break
            failures += [Failure(revision=revision, **found) for found in service.ask()]
    return Warm(tuple(failures), untried)


def upgrade(root: Path, database: Database, revision: str) -> str:
    """Apply the revisions of the working tree up to this one; return why that failed, if it did.

    Raises:
        ProjectError: `env.py` connects to another database.
    """
    done = run_redirected(
        *(sys.executable, "-m", "alembic", "upgrade", revision),
        folder=root,
        variables=environment(database.url, root),
    )
    return last_line(done) if done.returncode else ""


async def _fill(database: Database, later: Sequence[CatalogTable]) -> None:
    engine = create_async_engine(database.url, poolclass=pool.NullPool)
    async with engine.begin() as connection:
        await fill(connection, with_checks_of(later, await read_tables(connection)), ROWS)
    await engine.dispose()


@dataclass(frozen=True)
class _Service:
    process: subprocess.Popen[str]

    def ask(self) -> list[Mapping[str, Any]]:
        """What failed since it was asked last."""
        with suppress(BrokenPipeError):  # where it has died, the answer says so
            cast("IO[str]", self.process.stdin).write("\n")
            cast("IO[str]", self.process.stdin).flush()
        return cast("list[Mapping[str, Any]]", self.answer())

    def answer(self) -> Any:
        if line := cast("IO[str]", self.process.stdout).readline():
            return json.loads(line)
        self.process.kill()
        _, said = self.process.communicate()
        reason = (said.strip().splitlines() or ["it ended"])[-1]
        raise ProjectError(f"the version that is running could not be served: {reason}")


@contextmanager
def _served(old: Checkout, database: Database) -> Iterator[_Service]:
    variables = environment(database.url, old.folder)
    with old.start(str(SERVICE), variables=variables) as process:
        yield _Service(process)
