"""`devdb [--port PORT] COMMAND...`: become COMMAND, with a PostgreSQL in its environment."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from slipway.devdb.libpq import libpq_environment
from slipway.devdb.server import DevdbError, find_binaries, shared_server, tcp_url

FOLDER = Path(".devdb")
DESCRIPTION = """\
Runs COMMAND with a PostgreSQL in DATABASE_URL and in PGHOST, PGUSER, ... (psql, pg_dump).
DATABASE_URL set in the environment or in ./.env is used as it is. Otherwise a server kept in
./.devdb serves all commands that run at the same time and stops with the last of them.
"""
PORT_HELP = """\
the server also listens on 127.0.0.1:PORT, for programs that need TCP; the URL with its password
is printed. That user reads and writes all tables and is no superuser
"""
FAILED, USAGE_ERROR, NOT_EXECUTABLE, NOT_FOUND = 125, 2, 126, 127


def main() -> NoReturn:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C while it starts: no traceback
    port, command = _parse(sys.argv[1:])
    try:
        _run(port, command)
    except DevdbError as error:
        _fail(str(error))
    except OSError as error:
        place = error.filename or Path.cwd()
        _fail(f"{place}: {error.strerror}; use a folder that is yours, or set DATABASE_URL")


def _run(port: int | None, command: list[str]) -> NoReturn:
    environment = {**os.environ}
    if binaries := find_binaries():
        environment["PATH"] = os.pathsep.join([str(binaries), os.environ.get("PATH", os.defpath)])
    program = shutil.which(command[0], path=environment.get("PATH"))
    if not program:
        _fail(f"{command[0]}: command not found", NOT_FOUND)
    settings = {**_settings_in(Path(".env")), **{k: v for k, v in os.environ.items() if v}}
    url = settings.get("DATABASE_URL")
    if url and port:
        _fail("--port is for a server of devdb, but DATABASE_URL is set: leave out one of them")
    if not url:
        url = shared_server(FOLDER, port)
        if port:
            print(f"devdb: {tcp_url(FOLDER, port)}", file=sys.stderr)
        # A server of our own is there for development, whatever a deployment would assume.
        environment["ENVIRONMENT"] = settings.get("ENVIRONMENT") or "development"
        # Nothing that runs on it may reach another database by a second name.
        if settings.get("MIGRATION_DATABASE_URL"):
            environment["MIGRATION_DATABASE_URL"] = url
    try:
        environment |= {"DATABASE_URL": url, **libpq_environment(url)}
    except ValueError as error:
        _fail(f"DATABASE_URL {error}", USAGE_ERROR)
    for stronger in ("PGSERVICE", "PGHOSTADDR"):  # they would send psql to another server
        environment.pop(stronger, None)
    if os.name == "nt":
        raise SystemExit(subprocess.call([program, *command[1:]], env=environment))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would keep that
    try:
        os.execve(program, command, environment)  # noqa: S606
    except OSError as error:
        _fail(f"{program}: {error.strerror}", NOT_EXECUTABLE)


def _settings_in(path: Path) -> dict[str, str]:
    try:
        return {name: value for name, value in dotenv_values(path).items() if value}
    except UnicodeDecodeError:
        _fail(f"{path.resolve()}: not UTF-8, save it as UTF-8", USAGE_ERROR)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _fail(f"{message}; see devdb --help", USAGE_ERROR)


def _parse(arguments: list[str]) -> tuple[int | None, list[str]]:
    usage = "devdb [--port PORT] [--] COMMAND..."
    parser = _Parser("devdb", usage, DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--port", type=_port, help=PORT_HELP)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    command: list[str] = parsed.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        parser.error("COMMAND is missing")
    return parsed.port, command


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError("give a number from 1 to 65535")
    return int(text)


def _fail(message: str, code: int = FAILED) -> NoReturn:
    print(f"devdb: {message}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
