"""Lets Ctrl-C end a statement of psycopg2.

It waits for the server in C, where Python runs no signal handlers: without this, Ctrl-C waits for
the end of the statement, which is hours where an index is built. Other drivers wait in Python.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection


@contextmanager
def cancelled_by_signals(connection: Connection) -> Iterator[None]:
    """Cancel the running statement when a signal arrives that Python handles."""
    in_main = threading.current_thread() is threading.main_thread()
    driver_connection = connection.connection.driver_connection
    if connection.dialect.driver != "psycopg2" or driver_connection is None or not in_main:
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def cancel() -> None:
        while reader.recv(1):  # the number of a signal; nothing once the other end is closed
            with suppress(connection.dialect.loaded_dbapi.Error):  # it may be lost by now
                driver_connection.cancel()

    # Python writes the number from C, whatever it waits for.
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=cancel, name="cancel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()
