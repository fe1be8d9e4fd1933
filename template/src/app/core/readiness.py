"""Whether this replica can serve requests: for whatever sends them."""

import asyncio
import logging
from importlib.resources import files
from pathlib import Path
from time import monotonic

from slipway.heads import Revisions, missing, read_applied, read_revisions
from sqlalchemy.exc import SQLAlchemyError

from app.core.config import Settings
from app.core.db.engine import ConnectError, DatabaseUnavailableError, connect, create_engine
from app.core.startup import StartupError

log = logging.getLogger(__name__)

# Seconds that a check may take (a probe must wait longer), and that its answer holds.
TIMEOUT = 2
FRESH = 1


def needed_revisions() -> Revisions:
    """The revisions that came with this code.

    Raises:
        StartupError: they cannot be read.
    """
    try:
        return read_revisions(Path(str(files("migrations"))))
    except Exception as error:
        raise StartupError(f"The migrations cannot be read: {error}") from error


class Readiness:
    """Answers any number of probes with one check of the database and its schema.

    The check has a connection of its own. If it queued with the requests, load alone would take
    out one replica after the other.
    """

    def __init__(self, settings: Settings, revisions: Revisions | None) -> None:
        """Connects to nothing yet; without `revisions`, any schema will do."""
        self._draining = False
        self._revisions = revisions
        timeouts = {"DATABASE_CONNECT_TIMEOUT": TIMEOUT, "DATABASE_STATEMENT_TIMEOUT": TIMEOUT}
        self._engine = create_engine(
            settings.model_copy(update={"DATABASE_POOL_SIZE": 1, **timeouts})
        )
        self._check: asyncio.Task[str | None] | None = None
        self._began = 0.0
        self._known_problem: str | None = None

    async def refuse_wrong_database(self) -> None:
        """Find out at the start what time does not mend; a server that is away may come back.

        Raises:
            ConnectError: the server has no such database, or refuses this user or password.
        """
        try:
            async with connect(self._engine):
                pass
        except ConnectError as error:
            if not isinstance(error.__cause__, (DatabaseUnavailableError, OSError)):
                raise
            log.warning("Not ready: %s", error)

    async def problem(self) -> str | None:
        """Why no request should come here, or `None`; in at most `TIMEOUT` seconds."""
        if self._draining:
            return "The service is shutting down"
        if self._check is None or (self._check.done() and monotonic() - self._began > FRESH):
            self._began = monotonic()
            self._check = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(TIMEOUT):
                # A probe that is given up must not end the check of the others.
                return await asyncio.shield(self._check)
        except TimeoutError:
            return f"The database does not answer within {TIMEOUT} s"

    def drain(self) -> None:
        """Be not ready from now on."""
        self._draining = True

    async def close(self) -> None:
        if self._check:
            self._check.cancel()
            await asyncio.wait([self._check])
        await self._engine.dispose()

    async def _look(self) -> str | None:
        """Find the problem; log where it comes and goes, as few see the answers to probes."""
        detail: object = ""
        try:
            problem = await self._find_problem()
        except (DatabaseUnavailableError, OSError, SQLAlchemyError) as error:
            problem = "The database does not answer"
            detail = f": {getattr(error, 'orig', None) or error!r}"
        if problem != self._known_problem:
            if problem:
                log.warning("Not ready: %s%s", problem, detail)
            else:
                log.info("Ready again")
        self._known_problem = problem
        return problem

    async def _find_problem(self) -> str | None:
        async with asyncio.timeout(TIMEOUT), self._engine.connect() as connection:
            applied = await connection.run_sync(read_applied)
        if self._revisions and missing(self._revisions, applied):
            return (
                f"The schema is at {_names(applied.heads)}, this code needs "
                f"{_names(self._revisions.heads)}: the migrations have not been applied yet"
            )
        return None


def _names(revisions: frozenset[str]) -> str:
    return " and ".join(sorted(revisions)) or "no revision"
