"""A real browser, for the pages of both products."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. While it is open, this process has an event loop and can start no other,
    so it is not kept for longer than a module."""
    chromium = shutil.which("chromium")
    assert chromium, "no Chromium: apt-get install chromium"
    expect.set_options(timeout=60_000)  # milliseconds
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()
