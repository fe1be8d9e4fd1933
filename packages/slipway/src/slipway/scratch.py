"""Databases to try things in, on a server that was named for it or on one of their own.

`DATABASE_URL` plays no part. The server is sent `CREATE DATABASE` and `DROP DATABASE`, for names
of our own; the database that its URL names is only connected to.
"""

import os
import pkgutil
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, make_url, pool, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from slipway import interrupts, redirect
from slipway.errors import message_of
from slipway.project.configuration import Configuration, ProjectError


def environment(url: URL, folder: Path, foreign: Collection[str] | None = None) -> dict[str, str]:
    """Return the environment variables that make a program of a project use a scratch database.

    `redirect` is what leads its engines there. `DATABASE_URL` is for programs that connect without
    SQLAlchemy, and for settings without a default; it keeps the driver that the project uses.

    Args:
        folder: of the project.
        foreign: see `redirect.redirect`.
    """
    driver = next(filter(None, map(_driver, _database_urls(folder))), "asyncpg")
    named = redirect.for_driver(url, driver).render_as_string(hide_password=False)
    return {
        **redirect.variables(url, foreign),
        "DATABASE_URL": named,
        "MIGRATION_DATABASE_URL": named,
        # Elsewhere, settings may refuse the passwords of examples.
        "ENVIRONMENT": "development",
    }


def _database_urls(folder: Path) -> Iterator[str]:
    """The project's own, from where its settings most probably read it."""
    yield os.environ.get("DATABASE_URL", "")
    with suppress(OSError, UnicodeDecodeError):
        lines = (folder / ".env").read_text(encoding="utf-8")
        yield from re.findall(r"""(?m)^(?:export\s+)?DATABASE_URL\s*=\s*["']?(\S+)""", lines)


def _driver(url: str) -> str:
    found = re.match(r"postgresql\+(\w+):", url)
    return found[1] if found else ""


@dataclass(frozen=True)
class ScratchDatabase:
    """`url` is for SQLAlchemy, with asyncpg."""

    url: URL

    @property
    def name(self) -> str:
        return str(self.url.database)


@dataclass(frozen=True)
class ScratchServer:
    """A server with the databases that were made here; `purpose` stands in their names."""

    url: URL
    purpose: str
    databases: list[ScratchDatabase] = field(default_factory=list)

    def create(self, template: ScratchDatabase | None = None) -> ScratchDatabase:
        """Make an empty database, or a copy of one that nobody is connected to.

        Raises:
            ProjectError: the server is not there, or does not let this user make databases.
        """
        name = f"scratch_{self.purpose}_{os.getpid()}_{secrets.token_hex(4)}"
        copied = f" TEMPLATE {template.name}" if template else ""
        database = ScratchDatabase(self.url.set(database=name))
        # Before it is there: the answer may be lost where the database is not.
        self.databases.append(database)
        interrupts.run(self._execute(f"CREATE DATABASE {name}{copied}"))
        return database

    def drop(self) -> None:
        """Drop what was made here, whoever is connected.

        Raises:
            ProjectError: the server is no longer there.
        """
        while self.databases:
            database = self.databases.pop()
            interrupts.run(self._execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)"))

    def foreign(self) -> frozenset[str]:
        """Return the names of the databases there that were not made here.

        Raises:
            ProjectError: the server is gone.
        """
        names = interrupts.run(self._execute("SELECT datname FROM pg_catalog.pg_database"))
        return frozenset(names) - {database.name for database in self.databases}

    async def _execute(self, statement: str) -> list[str]:
        from sqlalchemy.ext.asyncio import create_async_engine  # only here: it needs greenlet

        engine = create_async_engine(
            self.url, poolclass=pool.NullPool, isolation_level="AUTOCOMMIT"
        )
        try:
            async with engine.connect() as connection:
                result = await connection.execute(text(statement))
                return list(result.scalars()) if result.returns_rows else []
        except (OSError, DBAPIError) as error:
            raise ProjectError(f"{statement} on {self.url!r}: {message_of(error)}") from error
        finally:
            await engine.dispose()


@contextmanager
def scratch_server(configuration: Configuration, url: str, purpose: str) -> Iterator[ScratchServer]:
    """Find a server for databases that are dropped when the block ends, however it ends.

    Args:
        url: of the server; nothing for the one that the setting `scratch-server` makes.
        purpose: what the databases are for, in lower case, to be seen in their names.

    Raises:
        ProjectError: there is no server, or it refuses.
    """
    with nullcontext(url) if url else _own_server(configuration) as found:
        server = ScratchServer(parse_url(found), purpose)
        try:
            yield server
        except ProjectError:
            # Where the server is gone, nothing can be dropped, and what came first is the reason.
            while server.databases:
                with suppress(ProjectError):
                    server.drop()
            raise
        finally:
            server.drop()


def parse_url(url: str) -> URL:
    """The URL of a PostgreSQL, as libpq or SQLAlchemy has it, for SQLAlchemy with asyncpg.

    Raises:
        ProjectError: it is none. The message does not hold it, for it may hold a password.
    """
    parsed = None
    with suppress(ArgumentError, ValueError):
        parsed = make_url(re.sub(r"^postgres://", "postgresql://", url))
    if parsed is None or parsed.get_backend_name() != "postgresql" or not parsed.database:
        raise ProjectError(
            "the URL of the server must look like postgresql://user:password@host:5432/database"
        )
    return redirect.for_driver(parsed, "asyncpg")


@contextmanager
def _own_server(configuration: Configuration) -> Iterator[str]:
    name = configuration.scratch_server
    if not name:
        raise ProjectError(
            "no server to try it on: name one with --server URL, or a context manager that yields "
            'the URL of one in pyproject.toml, [tool.slipway] scratch-server = "module:function"'
        )
    with ExitStack() as stack:
        try:
            make: Callable[[], AbstractContextManager[str]] = pkgutil.resolve_name(name)
            url = stack.enter_context(make())
        # Whoever makes it has errors of its own.
        except Exception as error:
            raise ProjectError(
                f"{name}, the scratch-server of pyproject.toml: {error}; --server URL names another"
            ) from error
        yield url
