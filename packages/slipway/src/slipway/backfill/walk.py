"""Runs a backfill: along the primary key, past rows that somebody holds, then again for those."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from slipway.backfill import checkpoint
from slipway.backfill.batches import Batch, Position, Table, change, find_table, next_batch
from slipway.backfill.checkpoint import State
from slipway.backfill.definition import Backfill, BackfillError
from slipway.backfill.throttle import Limits, Throttle
from slipway.backoff import backoff, sleep
from slipway.errors import RETRYABLE, message_of, sqlstate
from slipway.runner.advisory_lock import hold_lock

log = logging.getLogger(f"alembic.{__name__}")

T = TypeVar("T")

# A process that was killed leaves its lock for as long as the server takes to notice.
LOCK_TIMEOUT = 10
# Switched off during a run. For a table that is not large the planner prefers to read all of it
# (it assumes a cold disk), and each batch would. Row level security would hide rows: without it,
# that is an error.
SETTINGS = ("enable_seqscan", "row_security")


@dataclass(frozen=True)
class Report:
    """How far a run is: rows looked at, of about how many, and changed; now or also before.

    `again` is set while it looks a second time, for rows that were held or have come since.
    """

    seen: int
    total: int | None
    changed: int
    again: bool


def run(
    connection: Connection,
    backfill: Backfill,
    *,
    name: str | None = None,
    limits: Limits | None = None,
    attempts: int = 1,
    report: Callable[[Report], object] = lambda _: None,
) -> int:
    """Change all rows that need it, in batches, and return how many.

    In a transaction of the caller's each batch is a savepoint, and nothing is left after a
    rollback: for tests. Rows that somebody holds are passed over at first, so that nobody queues
    behind the batch that would wait for them; then waited for, each by itself and under the lock
    timeout of the connection.

    Args:
        connection: of an async engine, within `run_sync`.
        name: note under it where the run is, so that the next one goes on there, and let one
            process at a time do it; the connection is in no transaction then.
        attempts: how often to come back to rows that are held, with growing pauses.
        report: called after each batch.

    Raises:
        BackfillError: it cannot be done as it is written.
        MigrationError: another process does it.
        DBAPIError: rows were held at every attempt, or the change fails.
    """
    transaction = _transactions(connection)
    with _lock(connection, name), _along_the_key(connection, transaction):
        with transaction():
            table = find_table(connection, backfill.table)
            state = checkpoint.start(connection, name, backfill) if name else State()
        if state.seen:
            log.info("Goes on after %s rows, where it stopped", f"{state.seen:,}")
        throttle = Throttle(connection, limits or Limits())
        work = _Work(
            connection, backfill, name, attempts, report, transaction, table, throttle, state
        )
        work.walk()
        work.return_to_held()
        if name:
            with transaction():
                checkpoint.finish(connection, name)
    return work.state.changed


def lock_key(name: str) -> int:
    """The advisory lock of a backfill: 63 bits, as no other lock of an application has them."""
    return int.from_bytes(sha256(f"slipway backfill {name}".encode()).digest()[:8]) >> 1


def _lock(connection: Connection, name: str | None) -> AbstractContextManager[None]:
    if name is None:
        return nullcontext()
    if connection.in_transaction():
        raise BackfillError(f"{name} needs a connection that is in no transaction")
    return hold_lock(connection, lock_key(name), f"backfill {name}", LOCK_TIMEOUT)


@contextmanager
def _along_the_key(
    connection: Connection, transaction: Callable[[], AbstractContextManager[Any]]
) -> Iterator[None]:
    with transaction():
        for name in SETTINGS:
            connection.exec_driver_sql(f"SET {name} = off")
    try:
        yield
    finally:
        if not connection.invalidated:
            with transaction():
                for name in SETTINGS:
                    connection.exec_driver_sql(f"RESET {name}")


def _transactions(connection: Connection) -> Callable[[], AbstractContextManager[Any]]:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return nullcontext
    return connection.begin_nested if connection.in_transaction() else connection.begin


@dataclass
class _Work:
    connection: Connection
    backfill: Backfill
    name: str | None
    attempts: int
    report: Callable[[Report], object]
    transaction: Callable[[], AbstractContextManager[Any]]
    table: Table
    throttle: Throttle
    state: State

    def walk(self) -> None:
        """Go along the key from where it stopped, past rows that somebody holds."""
        until = self.state.after
        while batch := self._retrying(partial(self._batch, until)):
            self._tell(self.state.seen)
            if (until := batch.until) is None:
                return

    def return_to_held(self) -> None:
        """Go along the key again for rows that were held, or came in the meantime."""
        self._retrying(self._again)

    def _again(self) -> None:
        until, seen, held = None, 0, None
        while batch := self._retrying(partial(self._batch, until, again=True)):
            try:
                # Not for ever, where rows that need it come as fast as they are changed.
                for _ in range(max(batch.rows, 1)):
                    if not self._row(batch):
                        break
            except DBAPIError as error:
                if not in_the_way(error):
                    raise
                held = error
            self._tell(seen := seen + batch.rows, again=True)
            if (until := batch.until) is None:
                break
        if held:
            raise held

    def _batch(self, after: Position | None, *, again: bool = False) -> Batch:
        began = monotonic()
        with self.transaction():
            batch = next_batch(self.connection, self.table, after, self.throttle.size)
            changed = change(self.connection, self.backfill, self.table, batch).changed
            state = replace(self.state, changed=self.state.changed + changed)
            if not again:
                state = replace(state, after=batch.until or after, seen=state.seen + batch.rows)
            self._save(state)
        self.state = state
        self.throttle.rest(changed, monotonic() - began)
        return batch

    def _row(self, batch: Batch) -> bool:
        """Wait for a row of the batch and change it, if there is one that needs it."""
        with self.transaction():
            done = change(self.connection, self.backfill, self.table, batch, wait=True)
            if done.locked and not done.changed:
                raise BackfillError(
                    f"A row of {self.table.name} stays as it is: does a trigger keep it?"
                )
            state = replace(self.state, changed=self.state.changed + done.changed)
            self._save(state)
        self.state = state
        return done.changed > 0

    def _save(self, state: State) -> None:
        if self.name and state != self.state:
            checkpoint.save(self.connection, self.name, self.state, state)

    def _tell(self, seen: int, *, again: bool = False) -> None:
        self.report(Report(seen, self.table.rows, self.state.changed, again))

    def _retrying(self, action: Callable[[], T]) -> T:
        for attempt, pause in backoff(self.attempts):
            try:
                return action()
            except DBAPIError as error:
                if pause is None or not in_the_way(error):
                    raise
                log.info("Attempt %s of %s: %s", attempt, self.attempts, message_of(error))
            sleep(self.connection, pause)
        raise AssertionError


def in_the_way(error: DBAPIError) -> bool:
    """Whether somebody held what the statement needed, and nothing is wrong with it."""
    return sqlstate(error) in RETRYABLE
