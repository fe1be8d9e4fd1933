"""What is applied: whether there is anything to do, and what a runner notes for other releases."""

import logging

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, Table
from sqlalchemy.schema import SetTableComment

from slipway.errors import MigrationError
from slipway.heads import HISTORY, Applied, Revisions, missing, qualified, read_history
from slipway.runner.connection import scalar

log = logging.getLogger(f"alembic.{__name__}")


def is_done(migration: MigrationContext) -> bool:
    """Whether the database is where the upgrade would lead, or beyond what this code knows.

    Raises:
        MigrationError: the database belongs to another history.
    """
    code, database = Revisions.of(context.script), _database(migration)
    unknown = database.heads - code.known
    if not unknown:
        return database.heads == target()
    if not missing(code, database):
        log.info("The database is ahead of this code, at %s: nothing to do", ", ".join(unknown))
        return True
    raise MigrationError(
        f"The database is at {', '.join(unknown)}, which this code does not know and which was not "
        "applied after its own revisions: is this the right database?"
    )


def target() -> set[str]:
    """The revisions that the command leads to."""
    destination = context.get_revision_argument()
    return {destination} if isinstance(destination, str) else set(destination or ())


def current_heads(migration: MigrationContext) -> set[str]:
    """The revisions that the database is at."""
    heads = set(migration.get_current_heads())
    context.get_bind().rollback()
    return heads


def applied(migration: MigrationContext) -> set[str]:
    """The revisions that the database is at, with all that were applied before them."""
    heads = current_heads(migration)
    before = context.script.iterate_revisions(tuple(heads), "base") if heads else ()
    return {revision.revision for revision in before}


def remember_history(migration: MigrationContext) -> None:
    """Note all applied revisions in the comment of the version table.

    Alembic notes only the newest one. With it alone, code that was rolled back could not tell a
    database that is ahead of it from one that is not its own.
    """
    connection = context.get_bind()
    connection.rollback()
    table, schema = migration.version_table, migration.version_table_schema
    name = qualified(connection, table, schema)
    if scalar(connection, "SELECT to_regclass(:name)::text", name=name) is None:
        return  # nothing was applied or reverted, so Alembic committed nothing
    noted = applied(migration)
    if noted == _database(migration).history:
        return
    comment = HISTORY + " ".join(sorted(noted))
    connection.execute(SetTableComment(Table(table, MetaData(), schema=schema, comment=comment)))
    connection.commit()


def _database(migration: MigrationContext) -> Applied:
    heads = frozenset(current_heads(migration))
    connection = context.get_bind()
    history = read_history(connection, migration.version_table, migration.version_table_schema)
    connection.rollback()
    return Applied(heads=heads, history=history)
