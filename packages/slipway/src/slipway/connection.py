"""Runs a command on the connection that a project's env.py makes, whichever env.py that is."""

from collections.abc import Callable
from typing import TypeVar

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

T = TypeVar("T")


def run_in_environment(config: Config, work: Callable[[MigrationContext, Connection], T]) -> T:
    """Run env.py, with a function in the place of migrations, and return what the function does.

    The function gets the connection as env.py has set it up (server, user, search path), in no
    transaction, even where env.py opens one for all migrations as Alembic's templates do. Alembic
    itself changes nothing in the database: it makes no version table.

    Args:
        config: Alembic's configuration of the project.
        work: called with Alembic's context and the connection; with an async driver, within
            `run_sync`.

    Raises:
        CommandError: env.py cannot be used, or leads to no database or to several.
        SystemExit: env.py ends the process, with a code or a message.
    """
    script = ScriptDirectory.from_config(config)
    results: list[T] = []

    def slipway_command(_heads: object, migration: MigrationContext) -> list[object]:
        if migration.connection is None or results:
            raise CommandError("env.py leads to several databases or to none: one is needed")
        migration.connection.rollback()  # ends the transaction in which the heads were read
        results.append(work(migration, migration.connection))
        return []

    # Without transactional DDL, Alembic opens a transaction for each revision only.
    options = {"dont_mutate": True, "transactional_ddl": False}
    with EnvironmentContext(config, script, fn=slipway_command, **options):
        script.run_env()
    if not results:
        raise CommandError(f"{script.env_py_location} runs no migrations")
    return results[0]
