"""What the page at /docs consists of comes from here, and may be kept."""

import re

import httpx2
import pytest


async def test_the_page_names_no_other_host(client: httpx2.AsyncClient) -> None:
    page = await client.get("/docs")

    assert "//" not in re.sub(r"<!--.*?-->|^\s*//.*", "", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(("name", "type_"), [(".js", "text/javascript"), (".css", "text/css")])
async def test_its_parts_have_their_type_and_may_be_kept_for_long(
    client: httpx2.AsyncClient, name: str, type_: str
) -> None:
    page = await client.get("/docs")
    [path] = re.findall(rf'(?:src|href)="(/docs/[^"]+\{name})"', page.text)

    part = await client.get(path)

    assert part.status_code == 200
    assert part.headers["content-type"].partition(";")[0] == type_
    assert "immutable" in part.headers["cache-control"]
    assert part.headers["x-content-type-options"] == "nosniff"


async def test_a_part_that_is_not_there_is_a_problem(client: httpx2.AsyncClient) -> None:
    missing = await client.get("/docs/0/missing.js")

    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
