"""Runs a backfill: along the primary key past rows that are locked, then again for those."""

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
from slipway.backfill.batches import BackfillTable, Batch, Position, change, find_table, next_batch
from slipway.backfill.checkpoint import Checkpoint
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
class BackfillProgress:
    """Progress of a run: rows scanned, estimated total, rows changed (earlier runs included).

    `again` is set during the second pass, for rows that were locked or are new.
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
    report: Callable[[BackfillProgress], object] = lambda _: None,
) -> int:
    """Change all rows that need it, in batches, and return how many.

    In a transaction of the caller each batch is a savepoint, and nothing is left after a rollback:
    for tests. Locked rows are skipped at first, so that no other session queues behind a batch that
    waits for them; then they are waited for, one by one and under the connection's lock timeout.

    Args:
        connection: of a sync engine, or of an async one within `run_sync`.
        name: save progress under this name, so that the next run continues there, and let one
            process at a time run it; the connection must then be in no transaction.
        attempts: how often to try locked rows, with growing pauses.
        report: called after each batch.

    Raises:
        BackfillError: it cannot be run as it is written.
        MigrationError: another process runs it.
        DBAPIError: rows were locked at every attempt, or the change fails.
    """
    transaction = _transactions(connection)
    with _lock(connection, name), _along_the_key(connection, transaction):
        with transaction():
            table = find_table(connection, backfill.table)
            start = checkpoint.start(connection, name, backfill) if name else Checkpoint()
        if start.seen:
            log.info("Continues after %s rows, where it stopped", f"{start.seen:,}")
        throttle = Throttle(connection, limits or Limits())
        walk = _Walk(
            connection, backfill, name, attempts, report, transaction, table, throttle, start
        )
        walk.first_pass()
        walk.second_pass()
        if name:
            with transaction():
                checkpoint.finish(connection, name)
    return walk.checkpoint.changed


def lock_key(name: str) -> int:
    """The key of a backfill's advisory lock: 63 bits of a hash, so that no other lock has it."""
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
class _Walk:
    connection: Connection
    backfill: Backfill
    name: str | None
    attempts: int
    report: Callable[[BackfillProgress], object]
    transaction: Callable[[], AbstractContextManager[Any]]
    table: BackfillTable
    throttle: Throttle
    checkpoint: Checkpoint

    def first_pass(self) -> None:
        """Go along the key from where it stopped, past rows that are locked."""
        until = self.checkpoint.after
        while batch := self._retrying(partial(self._batch, until)):
            self._report(self.checkpoint.seen)
            if (until := batch.until) is None:
                return

    def second_pass(self) -> None:
        """Go along the key again for rows that were locked, or were inserted in the meantime."""
        self._retrying(self._wait_for_rows)

    def _wait_for_rows(self) -> None:
        until, seen, locked = None, 0, None
        while batch := self._retrying(partial(self._batch, until, again=True)):
            try:
                # Bounded, where rows that need it are inserted as fast as they are changed.
                for _ in range(max(batch.rows, 1)):
                    if not self._row(batch):
                        break
            except DBAPIError as error:
                if not is_blocked(error):
                    raise
                locked = error
            self._report(seen := seen + batch.rows, again=True)
            if (until := batch.until) is None:
                break
        if locked:
            raise locked

    def _batch(self, after: Position | None, *, again: bool = False) -> Batch:
        began = monotonic()
        with self.transaction():
            batch = next_batch(self.connection, self.table, after, self.throttle.size)
            changed = change(self.connection, self.backfill, self.table, batch).changed
            done = replace(self.checkpoint, changed=self.checkpoint.changed + changed)
            if not again:
                done = replace(done, after=batch.until or after, seen=done.seen + batch.rows)
            self._save(done)
        self.checkpoint = done
        self.throttle.rest(changed, monotonic() - began)
        return batch

    def _row(self, batch: Batch) -> bool:
        """Wait for a row of the batch and change it, if there is one that needs it."""
        with self.transaction():
            result = change(self.connection, self.backfill, self.table, batch, wait=True)
            if result.locked and not result.changed:
                raise BackfillError(
                    f"A row of {self.table.name} stays as it is: does a trigger keep it?"
                )
            done = replace(self.checkpoint, changed=self.checkpoint.changed + result.changed)
            self._save(done)
        self.checkpoint = done
        return result.changed > 0

    def _save(self, done: Checkpoint) -> None:
        if self.name and done != self.checkpoint:
            checkpoint.save(self.connection, self.name, self.checkpoint, done)

    def _report(self, seen: int, *, again: bool = False) -> None:
        self.report(BackfillProgress(seen, self.table.rows, self.checkpoint.changed, again))

    def _retrying(self, action: Callable[[], T]) -> T:
        for attempt, pause in backoff(self.attempts):
            try:
                return action()
            except DBAPIError as error:
                if pause is None or not is_blocked(error):
                    raise
                log.info("Attempt %s of %s: %s", attempt, self.attempts, message_of(error))
            sleep(self.connection, pause)
        raise AssertionError


def is_blocked(error: DBAPIError) -> bool:
    """Whether a lock of another session stopped the statement, and nothing is wrong with it."""
    return sqlstate(error) in RETRYABLE
