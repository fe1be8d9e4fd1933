"""All that a project's env.py needs.

The whole of it, for sync and async drivers:

    from slipway.env import configure_logging, run
    from shop.models import Base

    configure_logging()
    run(Base.metadata)

An env.py that keeps its own engine takes `Policy.connect_args`, `configure_options` and
`run_migrations`, with `connect` and `command_line_errors` for errors in one line.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from configparser import InterpolationError
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from logging.config import fileConfig
from pathlib import Path
from typing import Any

from alembic import context
from sqlalchemy import URL, Connection, Dialect, create_engine, make_url, pool
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from slipway.autogenerate import (
    include_name,
    process_revision_directives,
    render_item,
)
from slipway.autogenerate.enums import Metadata
from slipway.errors import MigrationError
from slipway.project.configuration import ProjectError, load
from slipway.project.renamed import explain
from slipway.runner.connection import connect, without_password
from slipway.runner.policy import ASYNCPG, DRIVERS, Policy, merged
from slipway.runner.run import run_migrations

__all__ = [
    "MigrationError",
    "Policy",
    "command_line_errors",
    "configure_logging",
    "configure_options",
    "connect",
    "run",
    "run_migrations",
]


def run(
    target_metadata: Metadata | None,
    *,
    url: str | URL | None = None,
    policy: Policy | None = None,
    connect_args: Mapping[str, Any] | None = None,
    **configure_options: Any,
) -> None:
    """Run what the Alembic command asks for; all that env.py has to do.

    A connection in `config.attributes["connection"]` is used as it is, as in Alembic's recipe for
    tests: its transaction is the caller's, and so are locks and retries.

    Args:
        target_metadata: of the models; a list where there are several.
        url: of the database, for a sync or an async driver; by default `sqlalchemy.url` of
            Alembic's configuration. `-x url=…` on the command line comes before both.
        policy: how much a run may get in the way of others; `Policy()` by default.
        connect_args: parameters of the driver, besides those of the policy.
        configure_options: for `context.configure()`, instead of those of `configure_options()`.

    Raises:
        MigrationError: the migrations did not run to their end. A command line ends with the
            message and exit code 1, or with 130 after Ctrl-C.
    """
    options = {**_options(target_metadata), **configure_options}
    given = context.config.attributes.get("connection")
    with command_line_errors():
        if context.is_offline_mode():
            _run_offline(_find_url(url), options)
        elif given is not None:
            context.configure(connection=given, **options)
            with context.begin_transaction():
                context.run_migrations()
        else:
            _run_online(
                _require_url(_find_url(url)), options, policy or Policy(), connect_args or {}
            )


def configure_options(target_metadata: Metadata | None) -> dict[str, Any]:
    """Return the options of `context.configure()` that Slipway needs.

    Args:
        target_metadata: of the models; a list where there are several.
    """
    return {
        "target_metadata": target_metadata,
        "compare_server_default": True,
        "include_schemas": True,
        "include_name": partial(include_name, [] if target_metadata is None else target_metadata),
        "process_revision_directives": process_revision_directives,
        "render_item": render_item,
        # Without it, a failure after an autocommit block leaves the version behind the schema.
        "transaction_per_migration": True,
        "documentation": _documentation(),
    }


def _documentation() -> str:
    """Return the setting for hints, or "" where its file is missing, as in an image."""
    config = context.config
    files = [file for file in (config.config_file_name, config.toml_file_name) if file]
    try:
        present = [file for file in files if Path(file).is_file()]
        found = load(Path.cwd(), present, config.config_ini_section)
    except ProjectError:
        return ""
    return found.documentation


_options = configure_options  # `run` has a parameter of this name


def configure_logging() -> None:
    """Configure logging as alembic.ini says, and without that show the progress of migrations.

    Loggers that exist keep working, unlike with Alembic's own env.py.
    """
    config = context.config
    if config.config_file_name and config.file_config.has_section("loggers"):
        fileConfig(config.config_file_name, disable_existing_loggers=False)
    elif not logging.getLogger().handlers:
        logging.basicConfig(format="%(levelname)-5.5s [%(name)s] %(message)s")
        logging.getLogger("alembic").setLevel(logging.INFO)


@contextmanager
def command_line_errors() -> Iterator[None]:
    """End a command line with one line and exit code 1 where migrations fail, 130 after Ctrl-C.

    A program that calls Alembic itself gets the `MigrationError` or `KeyboardInterrupt`.
    """
    try:
        yield
    except MigrationError as error:
        if context.config.cmd_opts is None:
            raise
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        if context.config.cmd_opts is None:
            raise
        raise SystemExit(130) from None
    except ModuleNotFoundError as error:
        explain(error)
        raise


# ---- The URL

WHERE = "set sqlalchemy.url in Alembic's configuration, url= in env.py or -x url= at the command"


def _find_url(url: str | URL | None) -> URL | None:
    found = context.get_x_argument(as_dictionary=True).get("url") or url or _configured_url()
    if not found:
        return None
    try:
        parsed = make_url(found)
    except (ArgumentError, ValueError) as error:
        raise MigrationError(
            "The URL of the database cannot be read; it has the form "
            "postgresql+psycopg://user:password@host/database, where special characters of the "
            "password are written as %40 for @"
        ) from error
    try:
        supported = (
            parsed.get_backend_name() == "postgresql" and parsed.get_driver_name() in DRIVERS
        )
    except NoSuchModuleError:
        supported = False
    if not supported:
        raise MigrationError(
            f"The URL {without_password(parsed)} does not begin with postgresql+DRIVER://, where "
            f"DRIVER is one of {', '.join(sorted(DRIVERS))}: {WHERE}"
        )
    return parsed


def _configured_url() -> str | None:
    """`sqlalchemy.url` of alembic.ini or of [tool.alembic], as a dotted key or a quoted one."""
    try:
        url = context.config.get_alembic_option("sqlalchemy.url")
        table: Any = context.config.get_alembic_option("sqlalchemy") if not url else None
    # What `configparser` and the % operator make of a lone %.
    except (InterpolationError, ValueError, TypeError, KeyError) as error:
        raise MigrationError(
            "sqlalchemy.url of Alembic's configuration cannot be read: write each % in it as %%"
        ) from error
    return table.get("url") if isinstance(table, dict) else url


def _require_url(url: URL | None) -> URL:
    if url is None:
        raise MigrationError(f"There is no URL of a database: {WHERE}")
    return url


# ---- Offline and online


def _run_offline(url: URL | None, options: Mapping[str, Any]) -> None:
    context.configure(
        url=url,
        dialect_name=None if url else "postgresql",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        **options,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_online(
    url: URL, options: Mapping[str, Any], policy: Policy, connect_args: Mapping[str, Any]
) -> None:
    def work(connection: Connection) -> None:
        context.configure(connection=connection, **options)
        run_migrations(policy)

    dialect, driver = url.get_dialect(), url.get_driver_name()
    _require_installed(dialect, driver)
    # `connect_args` would replace the `options` of the URL.
    in_url = (
        {"options": url.query["options"]} if driver != ASYNCPG and "options" in url.query else {}
    )
    arguments = merged(policy.connect_args(driver), in_url, connect_args)
    if dialect.is_async:
        _require_no_loop()
        asyncio.run(_run_async(url, arguments, work))
    else:
        engine = create_engine(url, poolclass=pool.NullPool, connect_args=arguments)
        with connect(engine) as connection:
            work(connection)


async def _run_async(
    url: URL, arguments: dict[str, Any], work: Callable[[Connection], None]
) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine  # only here: it needs greenlet

    engine = create_async_engine(url, poolclass=pool.NullPool, connect_args=arguments)
    async with connect(engine) as connection:
        await connection.run_sync(work)


def _require_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise MigrationError(
        "env.py cannot start an event loop within another: call Alembic in a thread, with "
        'asyncio.to_thread, or give it a connection in config.attributes["connection"]'
    )


def _require_installed(dialect: type[Dialect], driver: str) -> None:
    try:
        dialect.import_dbapi()
        if dialect.is_async:
            import_module("greenlet")
    except ImportError as error:
        raise MigrationError(
            f"The driver {driver} of the URL cannot be imported: {error}"
        ) from error
