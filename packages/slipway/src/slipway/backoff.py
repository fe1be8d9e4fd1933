"""Waits between attempts, on the connections of sync and async drivers."""

import asyncio
import random
import time
from collections.abc import Iterator

from sqlalchemy import Connection
from sqlalchemy.util import await_only

# Seconds: the first pause, which doubles with each attempt, up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20


def backoff(attempts: int) -> Iterator[tuple[int, float | None]]:
    """Yield the number of each attempt, from 1, and the pause after it in seconds.

    Each pause is random between half and all of its length, so that several waiting processes do
    not try again at the same moment. It is None after the last attempt.
    """
    for attempt in range(1, attempts + 1):
        pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
        yield attempt, pause if attempt < attempts else None


def sleep(connection: Connection, seconds: float) -> None:
    """Sleep as the driver of the connection needs it: an async one keeps its event loop running."""
    if connection.dialect.is_async:
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)
