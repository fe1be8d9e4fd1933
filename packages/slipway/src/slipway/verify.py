"""`slipway verify`: compare a database with the revisions and the models.

It connects as Alembic does, through env.py, and reads catalogues in one read-only transaction, so
it may run against production at any time, with the service's own role.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alembic.autogenerate import produce_migrations, render_op_text
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import SQLAlchemyError

from slipway import output
from slipway.connection import run_in_environment
from slipway.errors import MigrationError, message_of
from slipway.guard.judge import replay
from slipway.guard.record import RecordedStatement
from slipway.guard.schema import Schema
from slipway.guard.sql.model import Name
from slipway.project.configuration import (
    Configuration,
    ProjectError,
    alembic_config,
    from_arguments,
)
from slipway.project.history import History
from slipway.project.history import load as load_history
from slipway.project.source import Source
from slipway.queries import BACKFILL_PROGRESS, InvalidIndex, invalid_indexes
from slipway.report import Finding, Report, Rule, severe

EPILOG = f"""\
Reads the database that env.py connects to, in one read-only transaction.

{output.EXIT_CODES}"""

RULES = {
    rule.name: rule
    for rule in (
        Rule(
            name="not-at-head",
            severity="error",
            summary="The database is not at the revision that this code wants",
            why="The service meets a schema that it was not written for.",
            instead="alembic upgrade head\n",
            example="# a release whose newest revision was not applied",
            reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
        ),
        Rule(
            name="invalid-index",
            severity="error",
            summary="An index is left invalid by a build that failed",
            why="PostgreSQL maintains it with every write and never uses it.",
            instead="DROP INDEX CONCURRENTLY {name};  -- and build it again in a revision\n",
            example="# CREATE INDEX CONCURRENTLY that was interrupted",
            reference="sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
        ),
        Rule(
            name="not-validated",
            severity="error",
            summary="A constraint is NOT VALID where the revisions say that it holds",
            why="Rows may break it, and the planner does not rely on it.",
            instead="ALTER TABLE {table} VALIDATE CONSTRAINT {name};\n",
            example="# ALTER TABLE ... VALIDATE CONSTRAINT that failed, or was never run here",
            reference="sql-altertable.html#SQL-ALTERTABLE-NOTES",
        ),
        Rule(
            name="models-disagree",
            severity="error",
            summary="The models and the schema differ",
            why="Queries fail on what the schema lacks, or it has what no code knows.",
            instead=(
                'alembic revision --autogenerate -m "what differs"'
                "  # or undo what was done by hand\n"
            ),
            example="# ALTER TABLE by hand, or a change of the models without a revision",
            reference="https://alembic.sqlalchemy.org/en/latest/autogenerate.html",
        ),
    )
}


def add_parser(commands: Any) -> None:
    """Add the command to `argparse`'s sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="say where a database differs from the revisions and the models",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    output.add_arguments(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Look at the database, print what was found, and return the exit code."""
    try:
        found = verify(from_arguments(arguments))
    except ProjectError as error:
        print(f"slipway verify: {error}", file=sys.stderr)
        return output.FAILED
    # Alembic's, and those of the database, as an env.py lets them pass.
    except (CommandError, MigrationError, SQLAlchemyError, OSError) as error:
        print(f"slipway verify: {message_of(error)}", file=sys.stderr)
        return output.FAILED
    # What env.py ends with where the settings are wrong or the database refuses.
    except SystemExit as end:
        if isinstance(end.code, str):
            print(f"slipway verify: {end.code}", file=sys.stderr)
        return end.code if end.code == INTERRUPTED else output.FAILED
    return output.show(found, arguments)


INTERRUPTED = 130


def verify(configuration: Configuration) -> Report:
    """Look at the database that env.py connects to.

    Raises:
        ProjectError: the revisions or the models cannot be read.
        CommandError: Alembic's configuration or env.py cannot be used.
        SystemExit: env.py ends the process, with its message.
    """
    history = load_history(configuration)
    if not history.heads:
        raise ProjectError("there are no revisions to compare a database with")
    seen = run_in_environment(alembic_config(configuration), _look)
    expected, statements = replay(history, configuration)
    places = _Places(history, statements)
    found = [
        *_behind(history, seen.heads),
        *_invalid_indexes(seen.invalid, places),
        *_not_validated(seen.unvalidated, expected, places),
        *(
            _finding("models-disagree", difference, places.newest)
            for difference in seen.differences
        ),
    ]
    report = Report(
        title="verification",
        verdict="",
        findings=tuple(severe(found, configuration.severities)),
        looked_at=tuple(source.file for source in history.sources),
        rules=RULES,
        details={"revisions": sorted(seen.heads)},
    )
    at = ", ".join(sorted(seen.heads)) or "no revision"
    return replace(report, verdict=f"At {at}: {report.counts() or 'as the revisions say'}.")


# ---- What the database says


@dataclass(frozen=True)
class _Seen:
    heads: frozenset[str]
    invalid: Sequence[InvalidIndex]
    unvalidated: Sequence[Row[Any]]
    differences: tuple[str, ...]


def _look(migration: MigrationContext, connection: Connection) -> _Seen:
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    try:
        heads = frozenset(migration.get_current_heads())
        script = migration.script
        at_head = script is not None and heads == set(script.get_heads())
        return _Seen(
            heads,
            invalid_indexes(connection),
            connection.execute(text(UNVALIDATED)).all(),
            # Elsewhere it would only repeat what the missing revisions do.
            tuple(_differences(migration)) if at_head else (),
        )
    finally:
        connection.rollback()


UNVALIDATED = """
SELECT n.nspname AS schema, t.relname AS table, conname AS name, pg_get_constraintdef(c.oid) AS sql
FROM pg_constraint AS c
JOIN pg_class AS t ON t.oid = conrelid JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE NOT convalidated ORDER BY 1, 2, 3
"""


def _differences(migration: MigrationContext) -> Iterator[str]:
    """What autogenerate would write, each operation as its code."""
    metadata = migration.opts["target_metadata"]
    if metadata is None:
        raise ProjectError("target_metadata in env.py is None: set it to the models' metadata")
    script = produce_migrations(migration, metadata)
    context = AutogenContext(migration, metadata)
    for operation in _flat(script.upgrade_ops.ops if script.upgrade_ops else ()):
        if getattr(operation, "table_name", None) == BACKFILL_PROGRESS:
            continue  # of no models, and not hidden by each env.py
        lines = (line.strip() for line in render_op_text(context, operation).splitlines())
        yield f"the models and the schema differ by {' '.join(lines)}"


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _flat(operation.ops)
        else:
            yield operation


# ---- What is wrong with it


@dataclass(frozen=True)
class _Places:
    """Where revisions name something."""

    history: History
    statements: Sequence[tuple[Source, RecordedStatement]]

    @property
    def newest(self) -> tuple[Source, int]:
        source = self.history.heads[-1]
        return source, source.line_of("upgrade")

    def of(self, name: str) -> tuple[Source, int]:
        """The last statement that names it, or else the newest revision."""
        for source, recorded in reversed(self.statements):
            if recorded.lines and re.search(rf"\b{re.escape(name)}\b", recorded.sql):
                return source, recorded.lines[0]
        return self.newest


def _behind(history: History, heads: frozenset[str]) -> Iterator[Finding]:
    known = [history.by_id[head] for head in heads if head in history.by_id]
    applied = {source.file for source in history.up_to(known)}
    for head in sorted(heads - history.by_id.keys()):
        place = (history.heads[-1], history.heads[-1].line_of("revision"))
        message = f"the database is at {head}, which is not among these revisions"
        yield _finding("not-at-head", message, place)
    if heads - history.by_id.keys():
        return  # it may well have the others, and more
    for source in history.up_to(history.heads):
        if source.file not in applied:
            message = f"{source.revision} is not applied"
            yield _finding("not-at-head", message, (source, source.line_of("revision")))


def _invalid_indexes(found: Iterable[InvalidIndex], places: _Places) -> Iterator[Finding]:
    for invalid in found:
        message = f"the index {invalid.index} of {invalid.table} is invalid"
        yield _finding("invalid-index", message, places.of(invalid.name), name=invalid.index)


def _not_validated(
    rows: Iterable[Row[Any]], expected: Schema, places: _Places
) -> Iterator[Finding]:
    for row in rows:
        table = Name(row.schema, row.table)
        known = expected.table(table).constraints.get(row.name)
        if known and not known.valid:
            continue
        said = "a revision validates it" if known else "no revision names it"
        message = f"the constraint {row.name} of {table} is not validated, and {said}"
        place = places.of(row.name)
        yield _finding("not-validated", message, place, sql=row.sql, name=row.name, table=table)


def _finding(
    rule_name: str, message: str, place: tuple[Source, int], /, sql: str = "", **names: object
) -> Finding:
    rule, (source, line) = RULES[rule_name], place
    return Finding(
        rule=rule_name,
        severity=rule.severity,
        message=message,
        instead=rule.instead.format(**names) if names else rule.instead,
        file=source.file,
        line=line,
        revision=source.revision,
        sql=sql,
    )
