"""What a statement does to tables, read from the catalogue on the connection that runs it.

Locks and new files of an open transaction are not seen from anywhere else. In autocommit mode they
are gone before anybody can look, so the statement is tried first in a transaction of another
connection, which is rolled back.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from slipway.errors import sqlstate
from slipway.locks import (
    ACCESS_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    from_catalogue,
    is_strong,
    rank,
)
from slipway.queries import USER_RELATIONS
from slipway.rehearse.trace.driver import Notice

# Marks the rehearsal's own queries, which belong to no revision.
OWN = "rehearsal"
# active_sql_transaction (PostgreSQL manual, appendix A): it cannot run in a transaction.
NEEDS_AUTOCOMMIT = "25001"


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What a statement did; the fields are those of `model.TracedStatement`."""

    locks: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    rewritten: tuple[str, ...] = ()
    scanned: Mapping[str, int] = field(default_factory=dict)
    server: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A table or an index; `file` changes when it is rewritten, an index is of `table`."""

    name: str
    is_table: bool
    file: int
    table: int | None


@dataclass(frozen=True)
class TransactionSnapshot:
    """The tables and indexes of users, the locks of this connection, and how often (and how many
    rows) its transaction has read tables from end to end."""

    relations: Mapping[int, Relation]
    locks: frozenset[tuple[int, str]]
    scans: Mapping[int, tuple[int, int]]

    @property
    def tables(self) -> frozenset[int]:
        return frozenset(oid for oid, relation in self.relations.items() if relation.is_table)

    def indexes(self) -> set[tuple[int, int, int]]:
        """Table, index and file."""
        return {(r.table, oid, r.file) for oid, r in self.relations.items() if r.table}


SNAPSHOT = f"""
WITH relations AS (
    SELECT c.oid, relkind, relfilenode, indrelid,
           CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END || relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    LEFT JOIN pg_index ON indexrelid = c.oid
    WHERE {USER_RELATIONS}
    AND relkind IN ('r', 'p', 'm', 'i', 'I')
)
SELECT json_build_object(
    'relations', (
        SELECT json_agg(json_build_array(
            oid::bigint, name, relkind IN ('r', 'p', 'm'), relfilenode::bigint, indrelid::bigint
        )) FROM relations
    ),
    'locks', (
        SELECT json_agg(json_build_array(relation::bigint, mode)) FROM pg_locks
        WHERE locktype = 'relation' AND granted AND pid = pg_backend_pid()
        AND relation IN (SELECT oid FROM relations)
    ),
    'scans', (
        SELECT json_agg(json_build_array(relid::bigint, seq_scan, seq_tup_read))
        FROM pg_stat_xact_user_tables WHERE seq_scan > 0
    )
)::text
"""


def query(connection: Connection, sql: str, parameters: Any = None) -> Any:
    """Run a query of the rehearsal's own."""
    return connection.exec_driver_sql(sql, parameters, execution_options={OWN: True})


def snapshot(connection: Connection) -> TransactionSnapshot:
    """Look at the tables as this connection sees them.

    Raises:
        DBAPIError: its transaction has failed and takes no more statements.
    """
    found = json.loads(query(connection, SNAPSHOT).scalar_one())
    return TransactionSnapshot(
        relations={oid: Relation(*parts) for oid, *parts in found["relations"] or ()},
        locks=frozenset((oid, from_catalogue(mode)) for oid, mode in found["locks"] or ()),
        scans={oid: (times, rows) for oid, times, rows in found["scans"] or ()},
    )


def lock_timeout(connection: Connection) -> float:
    """What the connection began with, in seconds, whatever the migration has set since."""
    setting = "SELECT reset_val FROM pg_settings WHERE name = 'lock_timeout'"
    return int(query(connection, setting).scalar_one()) / 1000


def effects_between(
    before: TransactionSnapshot, after: TransactionSnapshot, known: Set[int], notices: Iterable[str]
) -> Effects:
    """What happened between two snapshots of a connection to the `known` tables."""
    here = before.relations
    watched = known & before.tables

    def strongest(locks: Iterable[tuple[int, str]]) -> dict[str, str]:
        # The strongest comes last and stays.
        ordered = sorted(locks, key=lambda lock: rank(lock[1]))
        return {here[oid].name: mode for oid, mode in ordered if oid in watched}

    scans = {
        here[oid].name: rows - before.scans.get(oid, (0, 0))[1]
        for oid, (times, rows) in after.scans.items()
        if oid in watched and times > before.scans.get(oid, (0, 0))[0]
    }
    return Effects(
        locks=strongest(after.locks - before.locks),
        held=strongest(lock for lock in before.locks if is_strong(lock[1])),
        rewritten=_rewritten(before, after, known),
        scanned=scans,
        server=tuple(notices),
    )


def _rewritten(
    before: TransactionSnapshot, after: TransactionSnapshot, known: Set[int]
) -> tuple[str, ...]:
    """The tables that have another file; their indexes are rebuilt with them."""
    return tuple(
        before.relations[oid].name
        for oid in sorted(known & before.tables & after.tables)
        if before.relations[oid].file != after.relations[oid].file
    )


# ---- In autocommit mode


def effects_in_twin(
    connection: Connection, statement: str, parameters: Any, known: Set[int]
) -> Effects | None:
    """Find what a statement does in a transaction of another connection, which is rolled back.

    Returns:
        None if it can run only outside of transactions. What fails there has no effects.
    """
    changed = query(connection, CHANGED_SETTINGS).all()
    with _twin(connection) as twin:
        for name, value in changed:
            options = {"name": name, "value": value}
            twin.execute(SET_LOCAL, options, execution_options={OWN: True})
        before = snapshot(twin)
        notices: list[str] = twin.info["notices"]
        notices.clear()
        try:
            query(twin, statement, parameters)
        except DBAPIError as error:
            return None if sqlstate(error) == NEEDS_AUTOCOMMIT else Effects()
        found = effects_between(before, snapshot(twin), known, ())
        twin.rollback()
        return Effects(**{**vars(found), "server": tuple(notices)})


@contextmanager
def _twin(connection: Connection) -> Iterator[Connection]:
    """A second connection like this one, which has transactions whatever the engine's default."""
    # A pool of its own: that of the project's engine may have a single connection.
    pool = connection.engine.pool.recreate()
    engine = Engine(pool, connection.dialect, connection.engine.url)
    try:
        with engine.connect().execution_options(isolation_level="READ COMMITTED") as twin:
            yield twin
    finally:
        pool.dispose()


SET_LOCAL = text("SELECT set_config(:name, :value, true)")
CHANGED_SETTINGS = "SELECT name, setting FROM pg_settings WHERE source = 'session'"


def effects_of_concurrent(
    before: TransactionSnapshot, after: TransactionSnapshot, known: Set[int], notices: Iterable[str]
) -> Effects:
    """What a statement did that runs transactions of its own: CONCURRENTLY and VACUUM.

    By the manual, all of them take SHARE UPDATE EXCLUSIVE, or ACCESS EXCLUSIVE where they rewrite a
    table.
    """
    rewritten = _rewritten(before, after, known)
    touched = {table for table, *_ in before.indexes() ^ after.indexes()}
    names = (before.relations[oid].name for oid in touched & known & before.tables)
    locks = dict.fromkeys(names, SHARE_UPDATE_EXCLUSIVE)
    return Effects(
        locks=locks | dict.fromkeys(rewritten, ACCESS_EXCLUSIVE),
        rewritten=rewritten,
        server=tuple(notices),
    )


# ---- What PostgreSQL says

# At `client_min_messages = debug1` (PostgreSQL's source: tablecmds.c, index.c); it says more there
# that is not about rows.
ABOUT_ROWS = re.compile(
    r"(rewriting|verifying) table|validating foreign key|building index|"
    r"existing constraints on column .* are sufficient"
)


def is_relevant_notice(notice: Notice) -> bool:
    """Whether a message of the server is about the effects of a statement."""
    text = notice.text
    return notice.severity != "DEBUG" or (bool(ABOUT_ROWS.search(text)) and "pg_toast" not in text)
