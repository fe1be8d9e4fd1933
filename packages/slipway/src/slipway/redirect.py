"""Sends every SQLAlchemy connection of a process to a scratch database, whatever it asks for.

A project's `env.py` may take its URL from anywhere: a setting, a file, its own text.
`python -P redirect.py -m alembic upgrade heads` runs a program redirected, with the Python of any
version of a project. So this file is run by its path, and imports SQLAlchemy and the standard
library only.

Two listeners do it. Engines that connect by their URL are led to the scratch database
(`do_connect`); what is no address in `connect_args` is kept, timeouts and `server_settings` for
example. Engines with a `creator` connect by themselves, so each new connection of a pool is asked
where it leads, and a process that has reached another database ends before it sends a statement.

A connection that a program opens with the driver alone (`psycopg.connect(...)`) is not seen. Such
programs find the scratch database only where they read `DATABASE_URL`.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import URL, Engine, Pool, event, make_url

# How a redirected program is told where to go, and its exit code where it went elsewhere.
VARIABLE = "SLIPWAY_REDIRECT"
REFUSED = 3

# Connection parameters that say where a server is, and who asks; the others are kept.
ADDRESS = {
    "async_creator_fn",
    "channel_binding",
    "conninfo",
    "database",
    "dbname",
    "direct_tls",
    "dsn",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "krbsrvname",
    "load_balance_hosts",
    "passfile",
    "password",
    "port",
    "require_auth",
    "requirepeer",
    "service",
    "servicefile",
    "target_session_attrs",
    "user",
}
# SQLite in a test, for example.
NO_POSTGRESQL = "slipway.no_postgresql"


def variables(url: URL, foreign: Collection[str] | None = None) -> dict[str, str]:
    """Return the environment variable that redirects a program run by this file.

    Args:
        url: of the scratch database, for any driver.
        foreign: see `redirect`.
    """
    destination = {
        "url": url.render_as_string(hide_password=False),
        "foreign": None if foreign is None else sorted(foreign),
    }
    return {VARIABLE: json.dumps(destination)}


def stop(reason: str) -> NoReturn:
    """End the program with this reason."""
    raise SystemExit(reason)


def redirect(
    url: str,
    foreign: Collection[str] | None = None,
    refuse: Callable[[str], NoReturn] = stop,
) -> None:
    """Send the connections of all engines of this process, sync or async, to a scratch database.

    Call it before the program is imported: its own listeners then come later, and find the
    connection made.

    Args:
        url: of the scratch database, for any driver. Its name must be unique on all servers that
            the program may know, for a connection is recognised by it.
        foreign: None where the program may use this database only. Otherwise it may also make
            databases on the server of this one, and use those, but none of these names.
        refuse: is called with the reason when a connection leads elsewhere.
    """
    scratch = make_url(url)

    def connect(
        dialect: Any, record: Any, arguments: Collection[Any], parameters: Mapping[str, Any]
    ) -> Any:
        if dialect.name != "postgresql":
            record.info[NO_POSTGRESQL] = True
            return None
        place, address = dialect.create_connect_args(for_driver(scratch, dialect.driver))
        if foreign is not None and _server(parameters) == _server(address):
            named = parameters.keys() & {"database", "dbname"}
            own = {key: parameters[key] for key in named if parameters[key] not in foreign}
            address = {**address, **own}
        kept = {key: value for key, value in parameters.items() if not _is_address(key)}
        # A connection instead of None: listeners of the program would set a password of their own.
        return dialect.connect(*place, **{**address, **kept})

    # On the same server, where the name would be in use too.
    marker = str(scratch.database).replace("'", "''")
    is_server = f"EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = '{marker}')"
    question = f"SELECT current_database()::text, {is_server}"

    def check(connection: Any, record: Any) -> None:
        if NO_POSTGRESQL in record.info:
            return
        cursor = connection.cursor()
        try:
            cursor.execute(question)
            name, is_server = cursor.fetchone()
        finally:
            cursor.close()
        connection.rollback()
        is_allowed = name == scratch.database if foreign is None else name not in foreign
        if not (is_server and is_allowed):
            refuse(
                f"a connection leads to the database {name!r} instead of the scratch database: let "
                "the engine connect by its URL, without creator or async_creator"
            )

    event.listen(Engine, "do_connect", connect)
    event.listen(Pool, "first_connect", check)
    event.listen(Pool, "connect", check)


def _server(parameters: Mapping[str, Any]) -> tuple[str, str]:
    return str(parameters.get("host", "")), str(parameters.get("port", ""))


def _is_address(name: str) -> bool:
    return name in ADDRESS or name.startswith("ssl")


def for_driver(url: URL, driver: str) -> URL:
    """Return the URL as a driver reads it: TLS is `ssl` for asyncpg, and `sslmode` for libpq.

    Args:
        driver: as SQLAlchemy names it, "" for libpq itself.
    """
    query = dict(url.query)
    tls = query.pop("ssl", None) or query.pop("sslmode", None)
    if driver == "asyncpg":
        query.pop("channel_binding", None)  # unknown to asyncpg
    if tls:
        query["ssl" if driver == "asyncpg" else "sslmode"] = tls
    return url.set(drivername=f"postgresql+{driver}" if driver else "postgresql", query=query)


def main() -> None:
    """Run `-m MODULE` or a file with its arguments, redirected to where the environment says."""
    errors = os.dup(2)  # pytest replaces the other

    def refuse(reason: str) -> NoReturn:
        # At once: a program may catch everything, and try again for ever.
        os.write(errors, f"{reason}\n".encode())
        os._exit(REFUSED)

    redirect(**json.loads(os.environ[VARIABLE]), refuse=refuse)
    if sys.argv[1] == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv[:2] = []
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:1] = []
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
