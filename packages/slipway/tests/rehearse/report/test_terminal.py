"""The rehearsal on a terminal, wide or narrow, and in a pipe."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from packages.slipway.tests.rehearse.report.test_stats import rehearsal as made
from packages.slipway.tests.rehearse.report.test_stats import request, statement
from slipway.rehearse.model import Rehearsal
from slipway.rehearse.report.describe import duration
from slipway.rehearse.report.stats import table_stats
from slipway.rehearse.report.terminal import progress, show

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
LONG = "a_table_whose_name_is_much_longer_than_a_narrow_terminal_is_wide_" * 2


def printed(rehearsal: Rehearsal, width: int, *, terminal: bool = True) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width)
    show(rehearsal, console)
    assert isinstance(console.file, io.StringIO)
    return ANSI.sub("", console.file.getvalue())


def small() -> Rehearsal:
    traced = [
        statement("SET lock_timeout = 0", 0),
        statement(
            "ALTER TABLE a ALTER x TYPE bigint",
            1,
            locks={"a": "ACCESS EXCLUSIVE"},
            rewritten=("a",),
            scanned={"a": 1234567},
        ),
        statement("UPDATE a SET x = 1", 2, line=7),
    ]
    requests = [request("a", "read", 0.25), request("a", "insert", 2, "canceled")]
    return made(traced=traced, watched=traced[:2], requests=requests)


@pytest.mark.parametrize(
    ("width", "terminal"), [(140, True), (100, True), (60, True), (20, True), (80, False)]
)
def test_it_says_the_same_at_any_width(width: int, terminal: bool) -> None:
    words = printed(small(), width, terminal=terminal)

    flat = re.sub(r"\s+", "", words)
    for said in ("2.py:1", "2.py:7", "1,234,567", "notreached", "250ms", "2s"):
        assert said in flat
    assert "lock_timeout" not in words


def test_a_table_fits_its_terminal() -> None:
    wide = replace(small(), rows={LONG: 1, "a": 2})

    assert all(len(line) <= 100 for line in printed(wide, 100).splitlines())


def test_a_pipe_gets_one_line_for_each_fact() -> None:
    long = statement(f"ALTER TABLE {LONG} ADD COLUMN x text", 1, locks={LONG: "ACCESS EXCLUSIVE"})
    lines = printed(made(traced=[long], watched=[long]), 80, terminal=False).splitlines()

    assert any(LONG in line and "reads and writes wait" in line for line in lines)


@pytest.mark.parametrize("width", [140, 60])
def test_what_the_database_says_commands_no_terminal(width: int) -> None:
    evil = statement("SELECT '\x1b]0;owned\x07' [red] \u202e", 1, locks={"\x9b31m[bold]": "SHARE"})
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    show(made(traced=[evil], watched=[evil], requests=[request("\x1b[2J", "read", 1)]), console)
    assert isinstance(console.file, io.StringIO)
    words = console.file.getvalue()

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", words)
    assert "[bold]" in words.replace("\n", "")


def test_the_progress_bar_names_the_stage_and_counts() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with progress(console, 2) as begin:
        begin("fill 3 tables [of 3]")
        begin("apply 2")
    assert isinstance(console.file, io.StringIO)
    words = ANSI.sub("", console.file.getvalue())

    assert "2/2" in words


def test_there_is_no_progress_bar_in_a_pipe() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with progress(console, 1) as begin:
        begin("apply")
    assert isinstance(console.file, io.StringIO)

    assert console.file.getvalue() == ""


@pytest.mark.slow
def test_a_real_rehearsal_has_its_numbers_in_it(rehearsal: Rehearsal) -> None:
    for words in (printed(rehearsal, 140), printed(rehearsal, 80, terminal=False)):
        for table in table_stats(rehearsal):
            for latency in (table.reads, table.writes):
                assert f"{latency.requests:,}" in words
                assert duration(latency.p99) in words
                assert duration(latency.longest) in words
