"""What must be true before the models are compared with a database, and after an upgrade."""

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from slipway.autogenerate.enums import metadata_list
from slipway.errors import MigrationError
from slipway.queries import invalid_indexes
from slipway.runner.applied import applied, current_heads, target


def require_head(migration: MigrationContext) -> None:
    """Refuse to compare elsewhere: the comparison would find again what other revisions do.

    Raises:
        MigrationError: there are several heads, or the database is not at the only one.
    """
    heads, current = set(context.script.get_heads()), current_heads(migration)
    documentation = migration.opts.get("documentation")
    if len(heads) > 1:
        raise MigrationError(
            f"There are {len(heads)} heads, {' and '.join(sorted(heads))}: two branches each added "
            "a revision. Set down_revision of the younger one to the revision of the other"
        )
    if not current and (tables := _existing_tables(migration)):
        raise MigrationError(
            f"The database has {', '.join(tables)} but no revision: made by create_all or by hand. "
            "Compare with an empty database instead, or note the revision that it is at, with "
            f"`alembic stamp REVISION`{f'. See {documentation}' if documentation else ''}"
        )
    if unknown := current - _known():
        raise MigrationError(
            f"The database is at {', '.join(unknown)}, which is not among these revisions: it was "
            "migrated on another branch. Run `alembic downgrade -1` there, or compare with an "
            "empty database"
        )
    if current != heads:
        raise MigrationError(
            f"The database is at {', '.join(current) or 'no revision'}, not at {', '.join(heads)}: "
            "apply what is missing first, with `alembic upgrade head`"
        )


def _existing_tables(migration: MigrationContext) -> list[str]:
    """The tables of the models that the database has."""
    connection = context.get_bind()
    inspector = inspect(connection)
    found = [
        str(table)
        for metadata in metadata_list(migration.opts["target_metadata"] or [])
        for table in metadata.sorted_tables
        if inspector.has_table(table.name, table.schema)
    ]
    connection.rollback()
    return found


def _known() -> set[str]:
    return {revision.revision for revision in context.script.walk_revisions()}


def check_heads(migration: MigrationContext) -> None:
    """Check that the revisions which the upgrade led to are in the database.

    Raises:
        MigrationError: one is not.
    """
    missing = (target() & _known()) - applied(migration)
    if missing:
        raise MigrationError(f"The upgrade ended, but {', '.join(missing)} is not in the database")


def check_indexes(*, heads: set[str], **_: object) -> None:
    """Refuse to note the last revision while there are invalid indexes.

    Alembic calls it before the transaction of a revision ends: what is refused here is not noted,
    so that it is refused the next time too.

    Raises:
        MigrationError: there is one.
    """
    if heads >= target() and (invalid := invalid_indexes(context.get_bind())):
        names = ", ".join(found.index for found in invalid)
        raise MigrationError(
            f"Invalid indexes, left by builds that failed: {names}. The database maintains them "
            "and never uses them: drop each with DROP INDEX CONCURRENTLY and build it again. Until "
            f"then {', '.join(heads)} is not noted as applied"
        )
