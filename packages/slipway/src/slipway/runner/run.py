"""Runs migrations safely: with any number of replicas starting at once, and under live traffic.

env.py calls `run_migrations` where Alembic's own template calls `context.run_migrations`, so plain
`alembic upgrade` is as safe as anything else.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.runtime.migration import MigrationContext

from slipway.runner.advisory_lock import LOCK_KEY, hold_lock
from slipway.runner.applied import is_done, remember_history
from slipway.runner.checks import check_heads, check_indexes, require_head
from slipway.runner.commands import Command, current
from slipway.runner.connection import require_policy, require_postgresql
from slipway.runner.policy import Policy
from slipway.runner.retry import run_all, run_with_retries


def run_migrations(policy: Policy) -> None:
    """Run what the Alembic command asks for; in place of `context.run_migrations()` in env.py.

    What compares the models with the database (autogenerate and `check`) is refused where the
    comparison would be wrong; other commands that only read run as they are. An upgrade, a
    downgrade and a stamp hold an advisory lock on the connection that migrates; each revision has
    its own transaction, and is tried again when another session holds a lock that it needs.

    Raises:
        MigrationError: another runner took too long, a lock was held at every attempt, the
            database belongs to another history or is not at the head that it is compared with, or
            the result is not what the revisions promise.
    """
    migration = context.get_context()
    require_postgresql(context.get_bind())
    command = current(migration)
    if command is Command.UPGRADE:
        _upgrade(migration, policy)
    elif command is Command.CHANGE:
        with _lock(policy):
            run_with_retries(migration, policy.attempts)
    else:
        if command is Command.COMPARE:
            require_head(migration)
        run_all()


def _upgrade(migration: MigrationContext, policy: Policy) -> None:
    if is_done(migration):
        return
    with _lock(policy):
        if is_done(migration):
            return
        # While this runs, replicas of the last release must find their own revisions noted, even if
        # the run that applied them was killed before it could do so.
        remember_history(migration)
        callbacks = migration.on_version_apply_callbacks
        migration.on_version_apply_callbacks = (*callbacks, check_indexes)
        run_with_retries(migration, policy.attempts)
        check_heads(migration)


@contextmanager
def _lock(policy: Policy) -> Iterator[None]:
    connection = context.get_bind()
    with hold_lock(connection, LOCK_KEY, "migration", policy.runner_timeout):
        require_policy(connection, policy)
        yield
