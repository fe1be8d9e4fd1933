"""Runs the revisions, again where another session holds a lock, and names that session."""

import logging
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from slipway.backoff import backoff, sleep
from slipway.errors import RETRYABLE, MigrationError, message_of, sqlstate
from slipway.runner.applied import remember_history
from slipway.runner.blockers import watched
from slipway.runner.progress import reported

log = logging.getLogger(f"alembic.{__name__}")


def run_with_retries(migration: MigrationContext, attempts: int) -> None:
    """Run the command; try the revision again that does not get a lock.

    Raises:
        MigrationError: it did not get it at any attempt, or the revision fails.
    """
    connection = context.get_bind()
    with watched(connection) as blockers, reported(migration):
        for attempt, pause in backoff(attempts):
            try:
                run_all()
                remember_history(migration)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    connection.rollback()
                if sqlstate(error) not in RETRYABLE:
                    raise MigrationError(_failure(error)) from error
                if pause is None:
                    raise MigrationError(_blocked(attempts, blockers)) from error
                log.info(
                    "Attempt %s of %s: %s; trying again in %.1f s",
                    attempt,
                    attempts,
                    message_of(error),
                    pause,
                )
                sleep(connection, pause)
            else:
                return


def run_all() -> None:
    """Run the command as Alembic's own env.py does."""
    with context.begin_transaction():
        context.run_migrations()


def _failure(error: DBAPIError) -> str:
    """Where and why: `20261121_1200_add_teams.py, line 21: relation "teams" already exists`."""
    revisions = {Path(revision.path) for revision in context.script.walk_revisions()}
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if Path(frame.filename) in revisions]
    place = f"{Path(places[-1].filename).name}, line {places[-1].lineno}: " if places else ""
    return f"{place}{error.orig}; what the revision did in a transaction was rolled back"


def _blocked(attempts: int, blockers: Sequence[Row[Any]]) -> str:
    found = [f"pid {row.pid}, for {row.seconds} s, {row.state}: {row.query}" for row in blockers]
    return "\n  ".join(
        [
            f"Could not get a lock in {attempts} attempts; the revision was not applied. Try again "
            "when these sessions have ended, or end them with pg_terminate_backend(pid):",
            *(found or ["the blocking session was gone before it could be identified"]),
        ]
    )
