"""What may happen to a database while a service uses it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from packages.slipway.tests.processes import until


@contextmanager
def away(url: str, how: signal.Signals) -> Iterator[None]:
    """One of devdb's servers is ended by a signal, and is started again after the block."""
    with psycopg.connect(url) as connection:
        [(folder,)] = connection.execute("SHOW data_directory").fetchall()
        server = psutil.Process(connection.info.backend_pid).parent()
    assert server
    supervisor = server.parent()
    assert supervisor
    note = Path(folder, "postmaster.pid")
    text = note.read_text()
    supervisor.suspend()
    try:
        server.send_signal(how)
        until(lambda: server.status() == psutil.STATUS_ZOMBIE)
        yield
    finally:
        # The supervisor starts a server that was killed, which it sees by this note.
        note.write_text(text)
        supervisor.resume()
    until(lambda: answers(url))


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody holds a table, so that every request that needs it waits."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE posts")
        yield


def waiting(url: str) -> int:
    """How many wait for a lock."""
    with psycopg.connect(url) as connection:
        [(count,)] = connection.execute(WAITING).fetchall()
    return int(count)


WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
