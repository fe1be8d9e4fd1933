"""Ctrl-C and SIGTERM: a reason to clean up, once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# To be ended by CI is as good a reason as Ctrl-C is.
ENDINGS = (signal.SIGINT, signal.SIGTERM)


def raise_once() -> None:
    """Let the first of them be a `KeyboardInterrupt`, and those after it nothing.

    Whoever loses patience and presses it again must not interrupt the cleaning up.
    """
    for ending in ENDINGS:
        signal.signal(ending, _end)


def _end(number: int, frame: FrameType | None) -> None:
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    try:
        from asyncio import get_running_loop  # only here: it is slow to import

        loop = get_running_loop()
    except (ImportError, RuntimeError):
        raise KeyboardInterrupt from None
    # Between two steps of the loop: in the middle of one it may be lost in a callback of the
    # garbage collector, or crash the process in asyncpg's compiled code.
    loop.call_soon_threadsafe(_interrupt)


def _interrupt() -> None:
    raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Let what comes during the block come after it."""
    came: list[int] = []
    handlers = {
        ending: signal.signal(ending, lambda number, _: came.append(number)) for ending in ENDINGS
    }
    try:
        yield
    finally:
        for ending, handler in handlers.items():
            signal.signal(ending, handler)
        for number in came[:1]:
            signal.raise_signal(number)
