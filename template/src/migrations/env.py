"""Alembic's own env.py for async drivers, with the settings and models of the application."""

import asyncio

from alembic import context
from slipway.env import Policy, command_line_errors, configure_options, connect, run_migrations
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
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        **configure_options(target_metadata),
    )

    with context.begin_transaction():
        context.run_migrations()


def do_run_migrations(connection: Connection) -> None:
    context.configure(connection=connection, **configure_options(target_metadata))

    run_migrations(policy)


async def run_async_migrations() -> None:
    connectable = create_async_engine(
        url, poolclass=pool.NullPool, connect_args=policy.connect_args("asyncpg")
    )

    async with connect(connectable) as connection:
        await connection.run_sync(do_run_migrations)

    await connectable.dispose()


def run_migrations_online() -> None:
    with command_line_errors():
        asyncio.run(run_async_migrations())


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
