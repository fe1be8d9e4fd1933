"""Lets the version that is running serve while the revisions of this one are applied."""

import pickle
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from slipway import interrupts, process
from slipway.overlap import statements
from slipway.overlap.checkout import Checkout, last_line, run_redirected
from slipway.project.configuration import Configuration, ProjectError
from slipway.project.source import Source
from slipway.rehearse.seeding.catalogue import (
    CatalogTable,
    read_tables,
    read_tables_at,
    with_checks_of,
)
from slipway.rehearse.seeding.rows import fill
from slipway.scratch import ScratchDatabase, environment

# The service looks at a few rows of each table.
ROWS = 10


@dataclass(frozen=True, kw_only=True)
class RolloutFailure:
    """What went wrong for the old version once a revision was applied, or for the revision itself.

    Attributes:
        is_stale: Whether the statement would have worked in a new process.
        is_narrower: Whether made-up values were refused by NOT NULL or a check.
    """

    revision: Source
    error: str
    table: str = ""
    kind: str = ""
    sql: str = ""
    is_stale: bool = False
    is_narrower: bool = False


@dataclass(frozen=True)
class Rollout:
    """How the old version fared; `untried` are the tables for which not everything was sent."""

    failures: tuple[RolloutFailure, ...]
    untried: tuple[str, ...]


def upgrade_under_service(
    old: Checkout,
    database: ScratchDatabase,
    configuration: Configuration,
    revisions: Sequence[Source],
    *,
    later: ScratchDatabase | None,
) -> Rollout:
    """Put rows into a database of the old version, let that serve, and apply the revisions.

    After each revision the old version sends all its statements once more, so that what fails is
    known to be the work of that one.

    Args:
        later: a database that has the schema to come, whose checks the rows meet too.

    Raises:
        ProjectError: the old version does not work on its own schema.
    """
    interrupts.run(_fill(database, interrupts.run(read_tables_at(later.url)) if later else ()))
    url = database.url.render_as_string(hide_password=False)
    failures: list[RolloutFailure] = []
    with tempfile.TemporaryDirectory(prefix="overlap-") as folder:
        file = Path(folder, "statements")
        untried = _write_statements(old, database, file)
        command = [sys.executable, "-m", "slipway.overlap.service", url, str(file)]
        with process.json_lines(command) as service:
            _answer(service)
            for revision in revisions:
                if error := upgrade(configuration, database, revision.revision):
                    failures.append(RolloutFailure(revision=revision, error=error))
                    break
                service.send("what failed?")
                failures += [
                    RolloutFailure(revision=revision, **refused) for refused in _answer(service)
                ]
    return Rollout(tuple(failures), untried)


def _write_statements(old: Checkout, database: ScratchDatabase, file: Path) -> tuple[str, ...]:
    """Write the statements of the old version; return the tables of which some are missing."""
    command = [statements.__file__, str(file), *old.alembic_files, old.section]
    done = old.run(*command, variables=environment(database.url, old.folder))
    if done.returncode:
        raise ProjectError(f"the models of {old.commit[:12]} cannot be read: {last_line(done)}")
    found: dict[str, Any] = pickle.loads(file.read_bytes())  # noqa: S301  of the project's code
    return tuple(found["untried"])


def _answer(service: process.Child) -> Any:
    try:
        return service.receive()
    except EOFError:
        service.exit_code()
        reason = service.last_line() or "it ended"
        raise ProjectError(f"the version that is running could not be served: {reason}") from None


def upgrade(configuration: Configuration, database: ScratchDatabase, revision: str) -> str:
    """Apply the revisions of the working tree up to this one; return why that failed, if it did.

    Raises:
        ProjectError: `env.py` connects to another database.
    """
    scratch = environment(database.url, configuration.root)
    command = ["-m", "alembic", *configuration.arguments, "upgrade", revision]
    done = run_redirected(
        sys.executable,
        *command,
        folder=configuration.root,
        variables=process.environment(scratch, search_path=configuration.search_path),
    )
    return last_line(done) if done.returncode else ""


async def _fill(database: ScratchDatabase, later: Sequence[CatalogTable]) -> None:
    engine = create_async_engine(database.url, poolclass=pool.NullPool)
    async with engine.begin() as connection:
        await fill(connection, with_checks_of(later, await read_tables(connection)), ROWS)
    await engine.dispose()
