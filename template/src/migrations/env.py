"""Introduces Alembic to the application: its settings, its models, its database."""

import asyncio
from functools import partial

from alembic import context
from slipway.autogenerate import (
    compare_server_default,
    include_name,
    process_revision_directives,
    render_item,
)
from slipway.runner.run import MigrationError, Policy, connect, run_migrations
from sqlalchemy import pool
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine

import app.models  # noqa: F401  fills Base.metadata
from app.core.config import load_settings
from app.core.db.base import Base
from app.core.logging import configure_logging

settings = load_settings()
configure_logging(settings.LOG_LEVEL, settings.LOG_FORMAT)

# The URL never passes through Alembic's configuration, where a % in the password would break it.
url = settings.MIGRATION_DATABASE_URL or settings.DATABASE_URL
target_metadata = Base.metadata

policy = Policy(
    lock_timeout=settings.MIGRATION_LOCK_TIMEOUT,
    statement_timeout=settings.MIGRATION_STATEMENT_TIMEOUT,
    idle_in_transaction_timeout=settings.MIGRATION_IDLE_IN_TRANSACTION_TIMEOUT,
    runner_timeout=settings.MIGRATION_RUNNER_TIMEOUT,
    attempts=settings.MIGRATION_ATTEMPTS,
)


def run_migrations_offline() -> None:
    """Write the SQL of the migrations instead of running them."""
    context.configure(
        url=url,
        target_metadata=target_metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        transaction_per_migration=True,
    )

    with context.begin_transaction():
        context.run_migrations()


def do_run_migrations(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        compare_server_default=compare_server_default,
        include_schemas=True,
        include_name=partial(include_name, target_metadata),
        process_revision_directives=process_revision_directives,
        render_item=render_item,
        # Without it, a failure after an autocommit block leaves the version behind the schema.
        transaction_per_migration=True,
    )

    run_migrations(policy)


async def run_async_migrations() -> None:
    connectable = create_async_engine(
        url, poolclass=pool.NullPool, connect_args=policy.connect_args()
    )

    async with connect(connectable) as connection:
        await connection.run_sync(do_run_migrations)

    await connectable.dispose()


def run_migrations_online() -> None:
    try:
        asyncio.run(run_async_migrations())
    except MigrationError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
