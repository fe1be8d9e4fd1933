"""Ctrl-C, whenever it comes."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from slipway import interrupts


@pytest.fixture(autouse=True)
def _handlers_of_pytest() -> Iterator[None]:
    before = {ending: signal.getsignal(ending) for ending in interrupts.ENDINGS}
    yield
    for ending, handler in before.items():
        signal.signal(ending, handler)


@pytest.mark.parametrize("ending", interrupts.ENDINGS)
def test_what_comes_while_it_is_held_back_comes_after(ending: signal.Signals) -> None:
    interrupts.install()
    reached = []

    def interrupted() -> None:
        with interrupts.deferred():
            signal.raise_signal(ending)
            reached.append("the end of the block")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert reached


def test_without_any_nothing_changes() -> None:
    interrupts.install()
    before = signal.getsignal(signal.SIGTERM)

    with interrupts.deferred():
        pass

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("ending", interrupts.ENDINGS)
def test_cleaning_up_is_interrupted_by_no_second_one(ending: signal.Signals) -> None:
    interrupts.install()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

    signal.raise_signal(ending)
    with interrupts.deferred():
        signal.raise_signal(ending)


def test_a_loop_of_others_is_interrupted_between_two_steps() -> None:
    interrupts.install()
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


def test_a_loop_of_ours_cleans_up_with_the_help_of_others() -> None:
    interrupts.install()
    reached = []

    async def helped() -> None:
        helper = asyncio.create_task(asyncio.sleep(0.1, "help"))
        try:
            signal.raise_signal(signal.SIGTERM)
            reached.append("the end of the step")
            await asyncio.sleep(3600)
        finally:
            signal.raise_signal(signal.SIGINT)
            reached.append(await helper)

    with pytest.raises(KeyboardInterrupt):
        interrupts.run(helped())

    assert reached == ["the end of the step", "help"]


def test_no_ending_is_lost_after_the_work_of_a_loop() -> None:
    interrupts.install()

    async def ends() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupts.run(ends())


def test_cleaning_up_may_have_a_loop() -> None:
    interrupts.install()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

    async def cleans_up() -> str:
        signal.raise_signal(signal.SIGTERM)
        return await asyncio.sleep(0.01, "clean")

    assert interrupts.run(cleans_up()) == "clean"
