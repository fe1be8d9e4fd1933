"""Traces revisions one after the other, back again, and forth, with nobody else at work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from slipway.project.configuration import Configuration, ProjectError
from slipway.project.source import Source
from slipway.rehearse.database import run_on, url_of
from slipway.rehearse.model import TracedStatement
from slipway.rehearse.seeding.catalogue import CatalogTable, read_tables
from slipway.rehearse.trace.child import MigrationFailure, MigrationRun, trace
from slipway.rehearse.trace.findings import (
    failed_upgrade,
    left_behind,
    repeated,
    reverted,
    statement_findings,
)
from slipway.rehearse.trace.schema_snapshot import SchemaSnapshot, read_schema_snapshot
from slipway.report import Finding
from slipway.scratch import ScratchDatabase

# The names of columns by schema and table.
Columns = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, kw_only=True)
class Traced:
    """`columns` are those of before the revisions that no contract takes away, `lock_timeout` is
    in seconds."""

    statements: tuple[TracedStatement, ...]
    findings: tuple[Finding, ...]
    columns: Columns
    lock_timeout: float


@dataclass(frozen=True)
class _Step:
    """A revision that was applied, with the schemas before and after it."""

    source: Source
    statements: tuple[TracedStatement, ...]
    before: SchemaSnapshot
    after: SchemaSnapshot


@dataclass(frozen=True)
class _Tracer:
    """Traces on one database, and announces each step."""

    configuration: Configuration
    database: ScratchDatabase
    begin: Callable[[str], None]

    def upgrade(self, source: Source, stage: str) -> MigrationRun:
        self.begin(f"{source.file.name}, {stage}")
        return trace(self.configuration, url_of(self.database), source.revision)

    def downgrade(self, source: Source) -> MigrationFailure | None:
        self.begin(f"{source.file.name}, back")
        target, url = "".join(source.parents) or "base", url_of(self.database)
        try:
            return trace(self.configuration, url, target, direction="downgrade").failure
        # Alembic does not begin where there is no `downgrade()`.
        except ProjectError as error:
            return MigrationFailure(error=str(error), revision="", file="", line=1)

    def schema(self) -> tuple[SchemaSnapshot, tuple[CatalogTable, ...]]:
        async def read(
            connection: AsyncConnection,
        ) -> tuple[SchemaSnapshot, tuple[CatalogTable, ...]]:
            return await read_schema_snapshot(connection), await read_tables(connection)

        return run_on(self.database, read)


def trace_all(
    configuration: Configuration,
    database: ScratchDatabase,
    revisions: Sequence[Source],
    begin: Callable[[str], None],
) -> Traced:
    """Apply revisions, revert them, and apply them again.

    Args:
        database: with the schema before the revisions, and rows.
        begin: called with the name of each stage.

    Raises:
        ProjectError: a revision could not be tried, which says nothing about it.
    """
    tracer = _Tracer(configuration, database, begin)
    schema, tables = tracer.schema()
    columns: Columns = _columns(tables)
    runs: list[MigrationRun] = []
    steps: list[_Step] = []
    for source in revisions:
        runs.append(run := tracer.upgrade(source, "alone"))
        if run.failure:
            break
        if source.revision not in {applied.revision for applied in run.applied}:
            raise ProjectError(
                f"{source.file.name} is in the dump already, so there was nothing to rehearse: "
                "dump a database that is where production is"
            )
        before, (schema, tables) = schema, tracer.schema()
        steps.append(_Step(source, run.statements, before, schema))
        if source.phase == "contract":
            columns = _remaining(columns, tables)
    way_back = [*_there_and_back(tracer, steps)]
    statements = tuple(statement for run in runs for statement in run.statements)
    small_tables = configuration.small_tables
    findings = [*statement_findings(statements, small_tables)]
    for step in steps:
        findings += left_behind(
            step.source, step.statements, step.before, step.after, schema, small_tables
        )
    findings += [failed_upgrade(run.failure) for run in runs if run.failure]
    return Traced(
        statements=statements,
        findings=(*findings, *way_back),
        columns=columns,
        lock_timeout=next((run.lock_timeout for run in runs if run.lock_timeout), 0),
    )


def _there_and_back(tracer: _Tracer, steps: Sequence[_Step]) -> Iterator[Finding]:
    reverted_steps: list[_Step] = []
    for step in reversed(steps):
        # The way back from a merge is not one.
        if len(step.source.parents) > 1:
            break
        failure = tracer.downgrade(step.source)
        schema, _ = tracer.schema()
        yield from reverted(step.source, failure, step.before, schema)
        # From anywhere else, there is no upgrading again.
        if failure or schema.schema != step.before.schema:
            break
        reverted_steps.append(step)
    for step in reversed(reverted_steps):
        run = tracer.upgrade(step.source, "again")
        if run.failure:
            yield failed_upgrade(run.failure)
            break
        yield from repeated(step.source, step.after, tracer.schema()[0])


def _columns(tables: Sequence[CatalogTable]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for table in tables:
        names = [column.name for column in table.columns]
        found.setdefault(table.schema, {})[table.name] = names
    return found


def _remaining(columns: Columns, tables: Sequence[CatalogTable]) -> Columns:
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
