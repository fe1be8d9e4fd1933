"""Errors: our own, and those of asyncpg, psycopg and psycopg2, bare or as SQLAlchemy wraps them."""

from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

# lock_not_available and deadlock_detected (PostgreSQL manual, appendix A): another session was in
# the way, and nothing is wrong with the statement.
RETRYABLE = frozenset({"55P03", "40P01"})


class MigrationError(Exception):
    """The migrations did not run to their end; the message says why and what to do."""


def sqlstate(error: BaseException) -> str:
    """Return the five characters of PostgreSQL's error code (manual, appendix A), or "".

    psycopg2 calls it `pgcode`; a lost connection or a time limit of the client has none.
    """
    for cause in _causes(error):
        if code := getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None):
            return str(code)
    return ""


def message_of(error: BaseException) -> str:
    """Return the first line of the error, or the exception's name if it has no text (timeouts)."""
    reason = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return str(reason).strip().partition("\n")[0] or type(reason).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it wraps, and what an adapter of an async driver was raised from."""
    yield error
    if isinstance(error, DBAPIError) and error.orig is not None:
        yield from _causes(error.orig)
    elif error.__cause__ is not None:
        yield error.__cause__
