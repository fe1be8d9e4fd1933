"""Runs migrations safely: with any number of replicas starting at once, and under live traffic.

`migrations/env.py` calls `run_migrations` where Alembic's own template runs them, so plain
`alembic upgrade` is as safe as anything else.
"""

import asyncio
import logging
import random
import socket
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, cast

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Row, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only

from slipway.heads import HISTORY, Applied, Revisions, missing, read_history
from slipway.queries import invalid_indexes
from slipway.runner.progress import reported

log = logging.getLogger(f"alembic.{__name__}")

# Any number that no other advisory lock of the application has; the same in all of its releases.
LOCK_KEY = 0x736C697077617900
# lock_not_available and deadlock_detected (PostgreSQL manual, appendix A): somebody was in the way,
# nothing is wrong with the migration.
RETRYABLE = {"55P03", "40P01"}
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20
# Seconds. An index may be built for hours in silence, and what stands between may forget silent
# connections after 4 minutes (Azure's load balancer) or 350 s (AWS's). The server also hears of a
# runner that is no more, and gives its lock free.
KEEPALIVE = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
}
DIRECT = (
    "it seems to lead to a pooler in transaction mode, where nothing can be locked: "
    "set MIGRATION_DATABASE_URL to a direct connection"
)
LOST = f"This connection loses what belongs to its session; {DIRECT}"


class MigrationError(Exception):
    """The migrations did not run to their end; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How much a run may get in the way of others, and how patient it is; all in seconds.

    `lock_timeout` is how long queries of the service may queue behind a migration that itself
    queues for a lock; that is why it is short and why there are several `attempts`.
    """

    lock_timeout: float = 1
    statement_timeout: float = 60
    idle_in_transaction_timeout: float = 60
    runner_timeout: float = 300
    attempts: int = 10

    def connect_args(self) -> dict[str, Any]:
        """For `create_engine`: as start-up parameters, timeouts cost no statement, `RESET` returns
        to them, and a pooler in transaction mode refuses them instead of losing them."""
        timeouts = {
            "lock_timeout": self.lock_timeout,
            "statement_timeout": self.statement_timeout,
            "idle_in_transaction_session_timeout": self.idle_in_transaction_timeout,
        }
        settings = {name: f"{round(seconds * 1000)}ms" for name, seconds in timeouts.items()}
        return {
            "server_settings": {
                **settings,
                **KEEPALIVE,
                "application_name": f"migrate {socket.gethostname()}",
            }
        }


@asynccontextmanager
async def connect(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open the connection that migrates.

    Raises:
        MigrationError: the server is not there, refuses this user, password or database, or is a
            pooler that refuses timeouts; or what the block asks of it fails.
    """
    connection = engine.connect()
    try:
        await connection.start()
    except (OSError, DBAPIError) as error:
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        advice = f"; {DIRECT}" if "startup parameter" in reason else ""
        raise MigrationError(f"Cannot connect to {engine.url!r}: {reason}{advice}") from error
    try:
        yield connection
    except DBAPIError as error:
        raise MigrationError(str(error.orig)) from error
    finally:
        # To close it would be logged as an error where the server has just gone.
        await connection.invalidate()
        await connection.close()


def run_migrations(policy: Policy) -> None:
    """Run what the Alembic command asks for; in place of `context.run_migrations()` in env.py.

    What compares the models with the database (autogenerate and `check`) is refused where the
    comparison would be wrong; other commands that only read run as they are. An upgrade, a
    downgrade and a stamp hold an advisory lock on the connection that migrates; each revision has
    its own transaction, and is tried again when somebody is in its way.

    Raises:
        MigrationError: another runner took too long, somebody was in the way at every attempt, the
            database belongs to another history or is not at the head that it is compared with, or
            the result is not what the revisions promise.
    """
    migration = context.get_context()
    # The commands pass their work as a function of this name, and nothing else tells them apart.
    command = migration.opts["fn"].__name__
    if command == "retrieve_migrations":
        _require_head(migration)
    if command not in {"upgrade", "downgrade", "do_stamp"}:
        _run_all()
        return
    if command == "upgrade" and _is_done(migration):
        return
    connection = context.get_bind()
    with hold_lock(connection, LOCK_KEY, "migration", policy.runner_timeout):
        _refuse_pooler(connection, policy)
        if command == "upgrade":
            if _is_done(migration):
                return
            # While this runs, replicas of the last release must find their own revisions noted,
            # even if the run that applied them was killed before it could do so.
            _remember_history(migration)
            checks = migration.on_version_apply_callbacks
            migration.on_version_apply_callbacks = (*checks, _check_indexes)
        _run_with_retries(migration, policy)
        if command == "upgrade":
            _check_heads(migration)


def _run_all() -> None:
    with context.begin_transaction():
        context.run_migrations()


# ---- Is there anything to do?


def _is_done(migration: MigrationContext) -> bool:
    """Whether the database is where the upgrade would lead, or beyond what this code knows."""
    code, database = Revisions.of(context.script), _database(migration)
    unknown = database.heads - code.known
    if not unknown:
        return database.heads == _target()
    if not missing(code, database):
        log.info("The database is ahead of this code, at %s: nothing to do", ", ".join(unknown))
        return True
    raise MigrationError(
        f"The database is at {', '.join(unknown)}, which this code does not know and which did not "
        "come after its own revisions: is this the right database?"
    )


def _require_head(migration: MigrationContext) -> None:
    """Elsewhere, a comparison would find again what other revisions already do."""
    heads, current = set(context.script.get_heads()), _current_heads(migration)
    if len(heads) > 1:
        raise MigrationError(
            f"There are {len(heads)} heads, {' and '.join(sorted(heads))}: two branches each added "
            "a revision. Set down_revision of the younger one to the revision of the other"
        )
    if not current and (tables := _existing_tables(migration)):
        raise MigrationError(
            f"The database has {', '.join(tables)} but no revision: made by CREATE_TABLES_ON_START "
            "or by hand. Compare with an empty database instead (`just reset-db`), or note the "
            "revision that it is at (`just migrate-stamp`): docs/migrations.md, "
            '"Moving on from create_all"'
        )
    if unknown := current - _known():
        raise MigrationError(
            f"The database is at {', '.join(unknown)}, which is not among these revisions: it was "
            "migrated on another branch. `just migrate-down` there, or `just reset-db`"
        )
    if current != heads:
        raise MigrationError(
            f"The database is at {', '.join(current) or 'no revision'}, not at {', '.join(heads)}: "
            "apply what is missing first, with `just migrate-up`"
        )


def _existing_tables(migration: MigrationContext) -> list[str]:
    """The tables of the models that the database has."""
    connection = context.get_bind()
    tables = cast("MetaData", migration.opts["target_metadata"]).sorted_tables
    inspector = inspect(connection)
    found = [str(table) for table in tables if inspector.has_table(table.name, table.schema)]
    connection.rollback()
    return found


def _known() -> set[str]:
    return {revision.revision for revision in context.script.walk_revisions()}


def _target() -> set[str]:
    destination = context.get_revision_argument()
    return {destination} if isinstance(destination, str) else set(destination or ())


def _current_heads(migration: MigrationContext) -> set[str]:
    heads = set(migration.get_current_heads())
    context.get_bind().rollback()
    return heads


def _database(migration: MigrationContext) -> Applied:
    heads = frozenset(_current_heads(migration))
    connection = context.get_bind()
    history = read_history(connection, _version_table(migration))
    connection.rollback()
    return Applied(heads=heads, history=history)


def _remember_history(migration: MigrationContext) -> None:
    """Note all applied revisions in the comment of the version table.

    Alembic notes only the newest one. With it alone, code that was rolled back could not tell a
    database that is ahead of it from one that is not its own.
    """
    connection = context.get_bind()
    connection.rollback()
    table = _version_table(migration)
    if _scalar(connection, "SELECT to_regclass(:table)::text", table=table) is None:
        return  # nothing was applied or reverted, and so nothing of what Alembic did committed
    applied = _applied(migration)
    if applied == _database(migration).history:
        return
    connection.exec_driver_sql(
        f"COMMENT ON TABLE {table} IS '{HISTORY}{' '.join(sorted(applied))}'"
    )
    connection.commit()


def _applied(migration: MigrationContext) -> set[str]:
    """The revisions that the database is at, with all that came before them."""
    heads = _current_heads(migration)
    before = context.script.iterate_revisions(tuple(heads), "base") if heads else ()
    return {revision.revision for revision in before}


def _version_table(migration: MigrationContext) -> str:
    quote = migration.dialect.identifier_preparer.quote
    names = [migration.version_table_schema, migration.version_table]
    return ".".join(quote(name) for name in names if name)


# ---- One runner at a time


@contextmanager
def hold_lock(connection: Connection, key: int, work: str, timeout: float) -> Iterator[None]:
    """Hold an advisory lock on the connection that does the work, so that it ends when that does.

    It is polled, each poll a transaction of its own: a runner that queued for it in an open
    transaction would be waited for by the other's concurrent index build, a deadlock.

    Args:
        work: what the lock is for, as it is told to people who wait.
        timeout: how long to wait for it, in seconds.

    Raises:
        MigrationError: somebody else holds it, or the connection loses it.
    """
    deadline = monotonic() + timeout
    told = 0.0
    while not _scalar(connection, "SELECT pg_try_advisory_lock(:key)", key=key):
        holder = _scalar(connection, HOLDER, key=key)
        if monotonic() - told > 10:
            log.info("Waiting for another %s: %s", work, holder)
            told = monotonic()
        if monotonic() > deadline:
            raise MigrationError(f"Another {work} still runs after {timeout:g} s: {holder}")
        _sleep(random.uniform(0.2, 0.5))  # noqa: S311
    try:
        if not _scalar(connection, HOLDS, key=key):
            raise MigrationError(LOST)
        yield
    finally:
        # Where the connection is lost, so is the lock.
        if not connection.invalidated:
            with suppress(DBAPIError):
                connection.rollback()
                _scalar(connection, "SELECT pg_advisory_unlock(:key)", key=key)


def _refuse_pooler(connection: Connection, policy: Policy) -> None:
    """A pooler in transaction mode gives each transaction another session: a lock is then held by
    whoever comes next, and what was set at the start is lost."""
    milliseconds = _scalar(connection, "SELECT setting FROM pg_settings WHERE name='lock_timeout'")
    if int(milliseconds) != round(policy.lock_timeout * 1000):
        raise MigrationError(LOST)


HOLDS = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = :key
)
"""
HOLDER = """
SELECT format('%s, pid %s, since %s', coalesce(nullif(application_name, ''), usename), pid,
              to_char(backend_start, 'HH24:MI:SS TZ'))
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (classid::bigint << 32 | objid::bigint) = :key
"""


# ---- In nobody's way


def _run_with_retries(migration: MigrationContext, policy: Policy) -> None:
    connection = context.get_bind()
    with _watched(connection) as blockers, reported(migration):
        for attempt in range(1, policy.attempts + 1):
            try:
                _run_all()
                _remember_history(migration)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    connection.rollback()
                if getattr(error.orig, "sqlstate", None) not in RETRYABLE:
                    raise MigrationError(_failure(error)) from error
                if attempt == policy.attempts:
                    raise MigrationError(_in_the_way(policy, blockers)) from error
                pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
                pause *= random.uniform(0.5, 1)  # noqa: S311
                log.info(
                    "Attempt %s of %s: %s; trying again in %.1f s",
                    *(attempt, policy.attempts, str(error.orig).splitlines()[0], pause),
                )
                _sleep(pause)
            else:
                return


def _failure(error: DBAPIError) -> str:
    """Where and why: `20261121_1200_add_teams.py, line 21: relation "teams" already exists`."""
    versions = Path(context.script.versions)
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if Path(frame.filename).is_relative_to(versions)]
    place = f"{Path(places[-1].filename).name}, line {places[-1].lineno}: " if places else ""
    return f"{place}{error.orig}; what the revision did in a transaction was rolled back"


def _in_the_way(policy: Policy, blockers: Sequence[Row[Any]]) -> str:
    found = [f"pid {row.pid}, for {row.seconds} s, {row.state}: {row.query}" for row in blockers]
    return "\n  ".join(
        [
            f"Somebody was in the way at each of {policy.attempts} attempts; the revision was not "
            "applied. Try again when they have ended, or end them with pg_terminate_backend(pid):",
            *(found or ["nobody was seen for long enough to be named"]),
        ]
    )


BLOCKERS = text("""
SELECT pid, extract(epoch FROM now() - xact_start)::int AS seconds, state,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 200) AS query
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(:pid)) ORDER BY xact_start
""")


@contextmanager
def _watched(connection: Connection) -> Iterator[Sequence[Row[Any]]]:
    """Look from a second connection at who blocks this one; yield those who did so last."""
    blockers: list[Row[Any]] = []
    pid = _scalar(connection, "SELECT pg_backend_pid()")

    async def watch() -> None:
        engine = AsyncEngine(connection.engine)
        # To name who is in the way is a help, not a condition.
        with suppress(DBAPIError, OSError):
            async with engine.connect() as second:
                try:
                    while True:
                        if found := (await second.execute(BLOCKERS, {"pid": pid})).all():
                            blockers[:] = found
                        await second.rollback()
                        await asyncio.sleep(0.2)
                finally:
                    # To close it would be logged as an error where the server has just gone.
                    await second.invalidate()

    watcher = asyncio.get_running_loop().create_task(watch())
    try:
        yield blockers
    finally:
        watcher.cancel()
        await_only(asyncio.wait([watcher]))


# ---- What a run must leave behind


def _check_heads(migration: MigrationContext) -> None:
    script = context.script
    missing = (_target() & {r.revision for r in script.walk_revisions()}) - _applied(migration)
    if missing:
        raise MigrationError(f"The upgrade ended, but {', '.join(missing)} is not in the database")


def _check_indexes(*, heads: set[str], **_: object) -> None:
    """Called before the transaction of a revision ends: what is refused here is not noted, so that
    it is refused the next time too."""
    if heads >= _target() and (invalid := invalid_indexes(context.get_bind())):
        names = ", ".join(found.index for found in invalid)
        raise MigrationError(
            f"Invalid indexes, left by builds that failed: {names}. The database maintains them "
            "and never uses them: drop each with DROP INDEX CONCURRENTLY and build it again. Until "
            f"then {', '.join(heads)} is not noted as applied"
        )


def _scalar(connection: Connection, query: str, **parameters: object) -> Any:
    """One value, read in a transaction of its own: an open one would swallow all that follows."""
    try:
        return connection.scalar(text(query), parameters)
    finally:
        connection.rollback()


def _sleep(seconds: float) -> None:
    await_only(asyncio.sleep(seconds))
