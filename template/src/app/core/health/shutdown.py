"""An announced shutdown: proxies get time to choose another replica."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def announced_shutdown(delay: float, announce: Callable[[], None]) -> Iterator[None]:
    """On SIGTERM, call `announce`, and hand the signal to the server `delay` seconds later.

    The server, which set its handler before the application started, accepts connections until
    then. A second SIGTERM reaches it at once.
    """
    server = signal.getsignal(signal.SIGTERM)
    # Only the main thread may set handlers, and SIG_DFL and SIG_IGN cannot be called.
    if threading.current_thread() is not threading.main_thread() or not callable(server):
        yield
        return
    loop = asyncio.get_running_loop()
    announced = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal announced
        announce()
        if announced or not delay:
            server(number, frame)
        else:
            # From a signal handler, only this call wakes the loop.
            loop.call_soon_threadsafe(loop.call_later, delay, server, number, None)
        announced = True

    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)
