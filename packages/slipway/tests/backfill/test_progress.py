"""What a run says of itself while it goes on."""

import os
import pty
import re

import pytest

from packages.slipway.tests.backfill.service import Service
from slipway.backfill.progress import Clock
from slipway.backfill.walk import BackfillProgress


def test_what_an_earlier_process_has_seen_is_no_part_of_the_rate() -> None:
    clock = Clock()

    assert (
        clock.pace(BackfillProgress(seen=500_000, total=1_000_000, changed=0, again=False)).rate
        == 0
    )
    pace = clock.pace(BackfillProgress(seen=500_001, total=1_000_000, changed=0, again=False))

    assert pace.rate <= 1000  # a row in the shortest time that is measured
    assert pace.left is not None
    assert pace.left * pace.rate == pytest.approx(499_999)


def test_without_an_estimate_nothing_is_said_of_the_time_left() -> None:
    clock = Clock()
    clock.pace(BackfillProgress(seen=10, total=None, changed=0, again=False))

    assert clock.pace(BackfillProgress(seen=20, total=None, changed=0, again=False)).left is None


@pytest.mark.slow
def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left(service: Service) -> None:
    service.items(2000)
    service.write()
    terminal, other_end = pty.openpty()

    process = service.start("fill", "--max-rows-per-second", "1000", stderr=other_end, TERM="xterm")
    os.close(other_end)
    shown = ""
    try:
        while block := os.read(terminal, 10_000):
            shown += block.decode(errors="replace")
    except OSError:  # the end of a terminal
        pass
    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 0, shown
    assert printed == "fill: done, 2,000 rows changed\n"
    assert re.search(r"fill .*%.* changed, [\d,]+ rows/s, 0:00:\d\d left", shown)


@pytest.mark.slow
def test_elsewhere_there_is_a_line_now_and_then(service: Service) -> None:
    service.items(2600)
    service.write()

    answer = service.backfill("fill", "--max-rows-per-second", "200")

    assert re.search(
        r"fill: [\d,]+ rows scanned of about 2,600, [\d,]+ changed, [\d,]+ rows/s, 0:00:\d\d left$",
        answer.errors,
        re.MULTILINE,
    )
