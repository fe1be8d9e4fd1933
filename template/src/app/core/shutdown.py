"""A stop that is announced: whatever sends requests has time to choose another replica."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def announced_shutdown(delay: float, announce: Callable[[], None]) -> Iterator[None]:
    """On SIGTERM, call `announce`, and hand the signal to the server `delay` seconds later.

    The server, which has set its handler before the application starts, accepts connections until
    then. A second SIGTERM reaches it at once.
    """
    server = signal.getsignal(signal.SIGTERM)
    # Signals reach the main thread only, and a handler of the system is none to be called later.
    if threading.current_thread() is not threading.main_thread() or not callable(server):
        yield
        return
    loop = asyncio.get_running_loop()
    told = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal told
        announce()
        if told or not delay:
            server(number, frame)
        else:
            # From a signal handler, only this call wakes the loop.
            loop.call_soon_threadsafe(loop.call_later, delay, server, number, None)
        told = True

    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)
