"""Whether this replica can serve requests: the database answers and has the schema it needs."""

import asyncio
import logging
from importlib.resources import files
from pathlib import Path
from time import monotonic

from slipway.heads import Revisions, missing, read_applied, read_revisions
from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError

from app.core.db.engine import ConnectError, DatabaseUnavailableError, connect, create_engine
from app.core.startup import StartupError

log = logging.getLogger(__name__)

# Seconds that a check may take (a probe must wait longer), and for which its answer is reused.
TIMEOUT = 2
FRESH = 1


def needed_revisions() -> Revisions:
    """Read the revisions that came with this code.

    Raises:
        StartupError: they cannot be read.
    """
    try:
        return read_revisions(Path(str(files("migrations"))))
    except Exception as error:
        raise StartupError(f"The migrations cannot be read: {error}") from error


class Readiness:
    """Answers any number of probes with one check of the database and its schema.

    The check has its own connection. If it queued with the requests, load alone would take one
    replica after the other out of service.
    """

    def __init__(self, url: URL, revisions: Revisions | None) -> None:
        """Make the checks, without connecting yet; without `revisions`, any schema will do."""
        self._draining = False
        self._revisions = revisions
        self._engine = create_engine(
            url,
            pool_size=1,
            pool_timeout=TIMEOUT,
            connect_timeout=TIMEOUT,
            statement_timeout=TIMEOUT,
        )
        self._check: asyncio.Task[str | None] | None = None
        self._began = 0.0
        self._known_problem: str | None = None

    async def refuse_wrong_database(self) -> None:
        """Fail at the start for what waiting does not fix; a server that is away may come back.

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
        """Say why no request should be sent here, or `None`; in at most `TIMEOUT` seconds."""
        if self._draining:
            return "The service is shutting down"
        if self._check is None or (self._check.done() and monotonic() - self._began > FRESH):
            self._began = monotonic()
            self._check = asyncio.create_task(self._find_and_log_problem())
        try:
            async with asyncio.timeout(TIMEOUT):
                # A cancelled probe must not cancel the check that others wait for.
                return await asyncio.shield(self._check)
        except TimeoutError:
            return f"The database does not answer within {TIMEOUT} s"

    def drain(self) -> None:
        """Report not ready from now on."""
        self._draining = True

    async def close(self) -> None:
        if self._check:
            self._check.cancel()
            await asyncio.wait([self._check])
        await self._engine.dispose()

    async def _find_and_log_problem(self) -> str | None:
        """Find the problem; log each change, because few people see the answers to probes."""
        detail: object = ""
        try:
            problem, detail = await self._find_problem()
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

    async def _find_problem(self) -> tuple[str | None, str]:
        """The problem as any client may know it, and what only the log says."""
        async with asyncio.timeout(TIMEOUT), self._engine.connect() as connection:
            if await connection.scalar(text("SHOW transaction_read_only")) == "on":
                # The next look must not ask the same server, which may have been replaced.
                await connection.invalidate()
                return "The database is read-only", ""
            applied = await connection.run_sync(read_applied)
        if self._revisions and missing(self._revisions, applied):
            heads = f"{_names(applied.heads)}, needed {_names(self._revisions.heads)}"
            return "The migrations have not been applied yet", f": the schema is at {heads}"
        return None, ""


def _names(revisions: frozenset[str]) -> str:
    return " and ".join(sorted(revisions)) or "no revision"
