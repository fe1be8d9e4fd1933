"""The page at /docs of a running service, in a real browser: Chromium as Debian packages it."""

from contextlib import closing
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.project import Project

pytestmark = pytest.mark.slow


def test_the_page_works_without_the_internet(project: Project, browser: Browser) -> None:
    with project.served("just", "dev") as url, closing(browser.new_page()) as page:
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))

        page.goto(f"{url}/docs")
        document = httpx2.get(f"{url}/openapi.json").json()
        operations = page.locator(".opblock")
        expect(operations).to_have_count(sum(len(path) for path in document["paths"].values()))
        live = page.locator("#operations-health-live")
        live.locator(".opblock-summary").click()
        live.get_by_role("button", name="Try it out").click()
        live.get_by_role("button", name="Execute").click()
        answer = live.locator(".live-responses-table .response").first

        expect(answer.locator(".response-col_status")).to_contain_text("200")
        expect(answer).to_contain_text('"status": "ok"')
        assert f"{url}/health/live" in asked
        assert {urlsplit(request).netloc for request in asked} <= {urlsplit(url).netloc, ""}
        assert said == []
