"""Ctrl-C, whenever it comes."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from migrator import endings


@pytest.fixture(autouse=True)
def _handlers_of_pytest() -> Iterator[None]:
    before = {ending: signal.getsignal(ending) for ending in endings.ENDINGS}
    yield
    for ending, handler in before.items():
        signal.signal(ending, handler)


@pytest.mark.parametrize("ending", endings.ENDINGS)
def test_what_comes_while_it_is_held_back_comes_after(ending: signal.Signals) -> None:
    endings.raise_once()
    reached = []

    def interrupted() -> None:
        with endings.held_back():
            signal.raise_signal(ending)
            reached.append("the end of the block")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert reached


def test_without_any_nothing_changes() -> None:
    endings.raise_once()
    before = signal.getsignal(signal.SIGTERM)

    with endings.held_back():
        pass

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("ending", endings.ENDINGS)
def test_cleaning_up_is_interrupted_by_no_second_one(ending: signal.Signals) -> None:
    endings.raise_once()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

    signal.raise_signal(ending)
    with endings.held_back():
        signal.raise_signal(ending)


def test_a_loop_is_interrupted_between_two_steps() -> None:
    endings.raise_once()
    reached = []

    async def interrupted() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            reached.append("the end of the step")
            await asyncio.sleep(3600)
        finally:
            reached.append("what cleans up")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())

    assert reached == ["the end of the step", "what cleans up"]
