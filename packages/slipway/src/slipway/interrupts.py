"""Ctrl-C and SIGTERM: a reason to clean up, once."""

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from asyncio import Task

T = TypeVar("T")
# To be ended by CI is as good a reason as Ctrl-C is.
ENDINGS = (signal.SIGINT, signal.SIGTERM)


def install() -> None:
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


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, for what has to clean up: it is cancelled and may end, and nothing else is.

    `asyncio.run` alone would cancel every task, and wait for ever for the end of a program of which
    it has just interrupted the start.
    """
    import asyncio

    task: Task[Any] | None = None

    async def cancellable() -> T:
        nonlocal task
        task = asyncio.current_task()
        if came and task:
            task.cancel()
        return await main

    def cancel() -> None:
        with suppress(RuntimeError):  # the loop is closed
            if task:
                task.get_loop().call_soon_threadsafe(task.cancel)

    with deferred(cancel) as came:
        return asyncio.run(cancellable())


@contextmanager
def deferred(at_the_first: Callable[[], None] | None = None) -> Iterator[list[int]]:
    """Let what comes during the block come after it; yields the numbers of what came."""
    came: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1 and at_the_first:
            at_the_first()

    # Who is cleaning up goes on doing so.
    heard = [ending for ending in ENDINGS if signal.getsignal(ending) is not signal.SIG_IGN]
    handlers = {ending: signal.signal(ending, keep) for ending in heard}
    try:
        yield came
    finally:
        for ending, handler in handlers.items():
            signal.signal(ending, handler)
        for number in came[:1]:
            signal.raise_signal(number)
