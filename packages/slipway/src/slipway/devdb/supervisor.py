"""Owns one PostgreSQL: starts it, keeps it while it has users, stops it after the last of them.

`server.py` runs this file as a script, so it needs the standard library only. Who lives is told by
`flock`, which the kernel releases however a process ends, and never by a process id:
`users.lock` is shared by the users, `supervisor.lock` is held here, and `server.lock` is held by
every process of PostgreSQL itself.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

with contextlib.suppress(ImportError):  # Windows, where only DATABASE_URL works
    import fcntl

NOBODY = 65534
EXIT_ON_ERROR = ["-c", "exit_on_error=on"]
LONGEST_SOCKET_DIRECTORY = 100 - len("/.s.PGSQL.65535")  # the kernel's limit: 103 on macOS
SETTINGS = ["max_connections = 100", "timezone = 'UTC'", "log_timezone = 'UTC'"]
# By TCP, any local user can connect: only with the password, and never as the superuser, who could
# read files and run programs as the owner of the server.
ACCESS = "local all all trust\nhost all {user} 127.0.0.1/32 scram-sha-256\n"
TCP_USER, PASSWORD = "devdb", "password"  # a role, and the file in the folder
GRANT = """\
DO $$ BEGIN CREATE ROLE {user}; EXCEPTION WHEN duplicate_object THEN NULL; END $$
ALTER ROLE {user} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD '{password}'
GRANT pg_read_all_data, pg_write_all_data TO {user}
"""
FAST = [
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "wal_level = minimal",
    "max_wal_senders = 0",
]


class Postmaster(NamedTuple):
    """What a running server says of itself in `postmaster.pid`."""

    pid: int
    port: int
    socket_directory: str
    address: str
    ready: bool


def postmaster(data: Path) -> Postmaster | None:
    """The server that runs in `data`, if one really listens there."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        found = Postmaster(int(lines[0]), int(lines[3]), lines[4], lines[5], "ready" in lines[7])
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{found.socket_directory}/.s.PGSQL.{found.port}")
    except (OSError, ValueError, IndexError):
        return None
    return found


def open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def short_directory() -> Path:
    """A new private folder whose path is fit for a socket: short, no comma (two hosts to libpq)."""
    path = tempfile.mkdtemp(prefix="devdb-")
    if len(os.fsencode(path)) > LONGEST_SOCKET_DIRECTORY or "," in path:
        Path(path).rmdir()
        path = tempfile.mkdtemp(prefix="devdb-", dir="/tmp")
    return Path(path)


def main(folder: Path, binaries: Path, port: str, *, temporary: bool) -> None:
    if os.fork():  # no child of the command, which may wait for all of its children
        return
    sockets = folder if temporary else _socket_directory(folder / "data")
    try:
        _supervise(folder, binaries, port, sockets, temporary=temporary)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _supervise(folder: Path, binaries: Path, port: str, sockets: Path, *, temporary: bool) -> None:
    data = folder / "data"
    server: subprocess.Popen[bytes] | None = None
    unused = threading.Event()
    users = open_lock(folder / "users.lock")

    def stop_when_unused() -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        unused.set()
        while True:  # the server may be about to start
            if server:
                server.send_signal(signal.SIGINT)
            elif (found := postmaster(data)) and found.socket_directory == str(sockets):
                os.kill(found.pid, signal.SIGINT)
            time.sleep(0.05)

    threading.Thread(target=stop_when_unused, daemon=True).start()
    while True:
        lock = open_lock(folder / "server.lock")
        # Waits for the end of a server: ours, or one that outlived a supervisor that was killed.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A server that ends by itself removes its postmaster.pid; one that was killed does not.
        if unused.is_set() or (server and not (data / "postmaster.pid").exists()):
            return
        if not data.exists():
            _create(data, binaries, lock, temporary=temporary)
        _check_version(data, binaries)
        if not postmaster(data):  # their process id may be another process's by now
            for stale in [data / "postmaster.pid", *sockets.glob(".s.PGSQL.*")]:
                stale.unlink(missing_ok=True)
            if port:
                _admit_by_tcp(folder, data, binaries, lock)
        listen = ["-h", "127.0.0.1" if port else "", "-p", port or "5432", "-k", str(sockets)]
        server = subprocess.Popen(
            [*_as_owner(data), str(binaries / "postgres"), "-D", str(data), *listen],
            pass_fds=[lock],
        )
        os.close(lock)


def _create(data: Path, binaries: Path, lock: int, *, temporary: bool) -> None:
    new = data.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    owner = _as_owner(new)
    # The locale C knows only ASCII letters, so that lower('É') is 'É'; before 17 it is all there is
    # on every system.
    unicode = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options = ["--locale=C", *(unicode if _major(binaries) >= 17 else [])]
    options += [
        "-U",
        "postgres",
        "--auth-local=trust",
        "--auth-host=reject",
        "-E",
        "UTF8",
        "--no-instructions",
    ]
    options += ["--no-sync"] if temporary else []
    _run([*owner, str(binaries / "initdb"), "-D", str(new), *options], lock)
    with (new / "postgresql.conf").open("a") as configuration:
        configuration.write("\n".join([*SETTINGS, *(FAST if temporary else []), ""]))
    if not temporary:
        _run([*owner, *_single(binaries, new)], lock, b"CREATE DATABASE app\n")
    new.rename(data)


def _admit_by_tcp(folder: Path, data: Path, binaries: Path, lock: int) -> None:
    """Say who may connect by TCP, also in a cluster that an earlier version of devdb has made."""
    (data / "pg_hba.conf").write_text(ACCESS.format(user=TCP_USER))
    password = (folder / PASSWORD).read_text().strip()
    grant = GRANT.format(user=TCP_USER, password=password)
    _run([*_as_owner(data), *_single(binaries, data)], lock, grant.encode())


def _single(binaries: Path, data: Path) -> list[str]:
    """PostgreSQL without a server, which executes each line of its input."""
    return [str(binaries / "postgres"), "--single", "-D", str(data), *EXIT_ON_ERROR, "postgres"]


def _check_version(data: Path, binaries: Path) -> None:
    version = data / "PG_VERSION"
    if not version.exists():
        sys.exit(f"{data} is no PostgreSQL cluster: move it away, or rm -r {data.parent}")
    made_by, major = version.read_text().strip(), str(_major(binaries))
    if made_by != major:
        sys.exit(
            f"its data was made by PostgreSQL {made_by}, but {binaries} is PostgreSQL {major}: "
            f"rm -r {data.parent} to begin with nothing, or pg_dump with PostgreSQL {made_by} first"
        )


def _major(binaries: Path) -> int:
    arguments = [str(binaries / "postgres"), "--version"]
    version = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    return int(re.findall(r"\d+", version)[0])


def _run(arguments: list[str], lock: int, statements: bytes = b"") -> None:
    done = subprocess.run(
        arguments, input=statements, stdout=subprocess.DEVNULL, pass_fds=[lock], check=False
    )
    if done.returncode:
        sys.exit(1)  # the log has its message


def _as_owner(data: Path) -> list[str]:
    """What makes root the owner of `data`, still able to pass through root's private folders."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        sys.exit(
            "PostgreSQL refuses to run as root and setpriv (of util-linux) is missing: "
            "install it, or run as another user, or set DATABASE_URL"
        )
    if data.stat().st_uid == 0:
        for path in [data, *data.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    owner = data.stat()
    return [
        *("setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
        "--securebits=+no_setuid_fixup",
    ]


def _socket_directory(data: Path) -> Path:
    """That of the server that outlived a killed supervisor, or a new one."""
    with contextlib.suppress(OSError, IndexError):
        lines = (data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        known = Path(lines[4])
        if known.name.startswith("devdb-") and known.lstat().st_uid == os.geteuid():
            return known
    return short_directory()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], temporary=sys.argv[4] == "temporary")
