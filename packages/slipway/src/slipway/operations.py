"""Operations for migrations that run under traffic, each safe to run again after a failure.

They take only locks that let reads and writes go on, so they wait as long as it takes: a timeout
would end them half-way, and a concurrent index build that is ended leaves an INVALID index behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError

from slipway.backfill import Backfill, Limits, run
from slipway.backfill.throttle import BATCH_SIZE


def create_index_concurrently(
    name: str, table: str, columns: Sequence[Any], *, schema: str | None = None, **options: Any
) -> None:
    """Build an index while the table is read and written; alone in its revision.

    A leftover of a build that failed is dropped first, and an index that exists and is valid is
    left alone: the revision can be run again.

    Args:
        name: of the index.
        table: its name.
        columns: names, or expressions as `sa.text("lower(name)")`.
        schema: of the table; None for the first of the search path.
        options: those of `op.create_index`, such as `unique`.

    Raises:
        CommandError: the connection is in a transaction of the program that runs Alembic.
    """
    with _autocommit():
        if context.is_offline_mode():
            valid = None
        else:
            valid = op.get_bind().scalar(IS_VALID, {"name": _qualified(name, schema)})
        if valid:
            return
        if valid is False or context.is_offline_mode():
            _drop_index(name, table, schema)
        op.create_index(
            name, table, columns, schema=schema, postgresql_concurrently=True, **options
        )


def drop_index_concurrently(name: str, table: str, *, schema: str | None = None) -> None:
    """Drop an index while the table is read and written; alone in its revision."""
    with _autocommit():
        _drop_index(name, table, schema)


def validate_constraint(name: str, table: str, *, schema: str | None = None) -> None:
    """Check the rows that were there before a constraint was added NOT VALID.

    In a revision after the one that added it: within that transaction the scan would run under the
    lock of the addition, which blocks writes.
    """
    quote = op.get_context().dialect.identifier_preparer.quote
    with _autocommit():
        op.execute(f"ALTER TABLE {_qualified(table, schema)} VALIDATE CONSTRAINT {quote(name)}")


def refuse_nulls(table: str, column: str, *, schema: str | None = None) -> None:
    """End the migration if rows have NULL, before it forbids what their updates would repeat.

    It reads without a lock that others wait for, so it may take its time.

    Raises:
        CommandError: some row has NULL.
    """
    if context.is_offline_mode():
        return
    quote = op.get_context().dialect.identifier_preparer.quote
    op.execute("SET LOCAL statement_timeout = 0")
    has_nulls = op.get_bind().scalar(
        sa.text(
            f"SELECT EXISTS (SELECT FROM {_qualified(table, schema)} "  # noqa: S608
            f"WHERE {quote(column)} IS NULL)"
        )
    )
    if has_nulls:
        documentation = op.get_context().opts.get("documentation")
        raise CommandError(
            f"{table}.{column} is NULL in some rows: fill them first, with update_in_batches in a "
            f"revision before this one{f'. See {documentation}' if documentation else ''}"
        )
    op.execute("SET LOCAL statement_timeout TO DEFAULT")


def update_in_batches(
    table: str,
    assignment: str,
    *,
    where: str,
    schema: str | None = None,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Change many rows while the table is read and written; alone in its revision.

    Args:
        assignment: what follows SET, as SQL: `"alias = nickname"`.
        where: the rows that still need it, as SQL: `"alias IS NULL"`. One that is updated must no
            longer meet it, so that the revision can be run again.

    Raises:
        BackfillError: the table has no primary key, or a row that was updated still needs it.
    """
    name = _qualified(table, schema)
    with _autocommit_block():
        if context.is_offline_mode():
            op.execute(f"UPDATE {name} SET {assignment} WHERE {where}")  # noqa: S608
        else:
            run(
                op.get_bind(),
                Backfill(name, assignment, where=where),
                limits=Limits(batch_size=batch_size),
            )


IS_VALID = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


def _qualified(name: str, schema: str | None) -> str:
    quote = op.get_context().dialect.identifier_preparer.quote
    return ".".join(quote(part) for part in (schema, name) if part)


def _drop_index(name: str, table: str, schema: str | None) -> None:
    op.drop_index(name, table, schema=schema, postgresql_concurrently=True, if_exists=True)


@contextmanager
def _autocommit() -> Iterator[None]:
    """Outside any transaction, without timeouts; `RESET` returns to those of the connection."""
    with _autocommit_block():
        for name in ("lock_timeout", "statement_timeout"):
            op.execute(f"SET {name} = 0")
        try:
            yield
        finally:
            for name in ("lock_timeout", "statement_timeout"):
                op.execute(f"RESET {name}")


def _autocommit_block() -> AbstractContextManager[None]:
    # Alembic would fail with an assertion. A program that passes its connection may be in one.
    if getattr(op.get_context(), "_in_external_transaction", False):
        raise CommandError(
            "This revision commits, so it cannot run in the transaction of a program: pass Alembic "
            "a connection that is in none"
        )
    return op.get_context().autocommit_block()
