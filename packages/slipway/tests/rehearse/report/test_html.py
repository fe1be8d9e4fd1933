"""The page, in a real browser: Chromium as Debian packages it."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from packages.slipway.tests.rehearse.report.test_stats import rehearsal as made
from packages.slipway.tests.rehearse.report.test_stats import request, statement
from slipway.rehearse.model import Rehearsal, Request
from slipway.rehearse.report.describe import duration
from slipway.rehearse.report.html import page as html
from slipway.rehearse.report.stats import statement_stats
from slipway.report import Finding

pytestmark = pytest.mark.slow

HOSTILE = [
    "<script>window.owned = 1</script>",
    '"><img src=x onerror="window.owned = 1">',
    "'><svg onload='window.owned = 1'>",
    "</title></style></script><b>bold</b>",
    "${7 * 7} <%def name='x()'> % for ## &amp; &lt;",
    "]]><!-- {{ 7 * 7 }} javascript:window.owned=1",
]
LONG = "a_name_without_any_place_to_break_it_in_two_" * 6


@dataclass
class Opened:
    """A page and all that it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a rehearsal's page, with the options of a browser's context."""
    contexts = []

    def opened(
        rehearsal: Rehearsal, *findings: Finding, width: int = 1280, **options: object
    ) -> Opened:
        file = tmp_path / "rehearsal.html"
        file.write_bytes(html(rehearsal, findings).encode())
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            offline=True,
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.said.append(message.text))
        opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.page.on("request", lambda request: opened.asked.append(request.url))
        opened.page.goto(file.as_uri())
        return opened

    yield opened
    for context in contexts:
        context.close()


def finding(text: str) -> Finding:
    return Finding(rule=text, severity="error", message=text, instead=text, file=Path("2.py"))


def box(locator: Locator) -> tuple[float, float]:
    """Where something begins and ends on the time axis."""
    bounds = locator.bounding_box()
    assert bounds
    return bounds["x"], bounds["x"] + bounds["width"]


# ---- By itself


def test_it_opens_without_an_error_and_without_the_network(
    opened: Open, rehearsal: Rehearsal
) -> None:
    one = opened(rehearsal, finding("a finding"))

    assert one.said == []
    assert [url.partition(":")[0] for url in one.asked] == ["file"]
    expect(one.page.get_by_role("heading", level=1)).to_have_text(rehearsal.verdict)


def test_its_policy_lets_nothing_else_run_or_load(opened: Open, rehearsal: Rehearsal) -> None:
    page = opened(rehearsal).page
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.owned = 1";
        const button = document.createElement("div");
        button.innerHTML = "<button onclick='window.owned = 1' style='color: red'>x</button>";
        document.body.append(script, button);
        button.firstChild.click();
    }""")

    assert page.evaluate("window.owned") is None
    assert page.evaluate("getComputedStyle(document.querySelector('button')).color") != (
        "rgb(255, 0, 0)"
    )
    assert page.evaluate("fetch('data:,x').then(() => 'loaded', () => 'refused')") == "refused"


def test_it_stays_small_with_many_tables_and_requests() -> None:
    requests = [
        Request(
            table=f"table_{number % 100}",
            kind=("read", "page", "insert", "update")[number // 100 % 4],
            started=number / 10_000,
            seconds=0.0007 * (1 + number * 7919 % 1000),
            error="canceled" if number % 3 == 0 else "",
        )
        for number in range(300_000)
    ]
    watched = [
        statement("DELETE FROM a WHERE x = " + "x" * 10_000, n / 100, 0.01, line=n)
        for n in range(1000)
    ]

    page = html(made(requests=requests, watched=watched, traced=watched, seconds=30))

    assert len(page.encode()) < 2_000_000


@pytest.mark.parametrize("watched", [(), (statement("ALTER TABLE a ADD x int", 1, 0),)])
def test_a_rehearsal_in_which_nothing_happened_is_a_page_too(
    opened: Open, watched: tuple[()]
) -> None:
    one = opened(made(watched=watched, seconds=0))

    assert one.said == []
    expect(one.page.get_by_role("table")).to_be_visible()


# ---- What it tells


def test_the_table_has_the_numbers_of_the_requests(opened: Open, rehearsal: Rehearsal) -> None:
    page = opened(rehearsal).page

    for table in rehearsal.rows:
        body = page.locator(".numbers tbody").filter(has_text=re.compile(rf"^\s*{table}"))
        for kind, kinds in (("reads", ("read", "page")), ("writes", ("insert", "update"))):
            sent = [r for r in rehearsal.requests if r.table == table and r.kind in kinds]
            seconds = sorted(r.seconds for r in sent)
            expected = [
                f"{len(sent):,}",
                f"{sum(bool(r.error) for r in sent):,}",
                duration(seconds[math.ceil(len(seconds) * 0.5) - 1]),
                duration(seconds[math.ceil(len(seconds) * 0.99) - 1]),
                duration(max(seconds)),
            ]
            row = body.get_by_role("row").filter(has_text=kind)
            assert row.get_by_role("cell").all_inner_texts() == expected


def test_a_stall_is_drawn_below_the_statement_that_made_it(
    opened: Open, rehearsal: Rehearsal
) -> None:
    page = opened(rehearsal).page
    bars = page.locator("#statement-1 .run.everybody")
    begin, end = box(bars.first)[0], box(bars.last)[1]

    for kind in ("reads", "writes"):
        stalled = box(page.locator(f".lane.{kind} .track .stalled").first)
        assert stalled[0] < end
        assert stalled[1] > begin
    assert page.locator("#statement-1 .cross").count() >= 1


def test_whoever_points_at_a_statement_sees_its_locks_and_its_time_everywhere(
    opened: Open, rehearsal: Rehearsal
) -> None:
    page = opened(rehearsal).page
    statement, told = page.locator("#statement-1"), page.get_by_role("status")
    expect(told).to_be_hidden()

    statement.hover()

    expect(told).to_contain_text("items: ACCESS EXCLUSIVE")
    expect(told).to_contain_text("Every read and every write waits")
    bars = statement.locator(".run")
    for lane in page.locator(".lane .focused").all():
        begin, end = box(lane)
        assert begin == pytest.approx(box(bars.first)[0], abs=3)
        assert end >= box(bars.last)[1] - 3

    page.keyboard.press("Escape")
    expect(told).to_be_hidden()
    expect(page.locator(".lane .focused").first).to_be_hidden()


def test_the_keyboard_reaches_each_statement_and_opens_it(
    opened: Open, rehearsal: Rehearsal
) -> None:
    page = opened(rehearsal).page

    for one in page.locator(".statement").all():
        page.keyboard.press("Tab")
        expect(one.locator("summary")).to_be_focused()
        expect(page.get_by_role("status")).to_contain_text(
            one.locator(".does").inner_text().removesuffix(" ▸")
        )
        page.keyboard.press("Enter")
        expect(one.locator("pre")).to_be_visible()


def test_it_is_read_aloud(opened: Open, rehearsal: Rehearsal) -> None:
    page = opened(rehearsal).page
    named = page.get_by_role("img", name=re.compile(r"\w"))

    assert named.count() == page.locator(".track[role=img]").count() > 0
    described = page.locator(".lane desc").first.text_content() or ""
    assert "requests" in described
    assert page.get_by_role("listitem").filter(has=page.locator("summary")).count() == (
        page.locator(".statement").count()
    )


def test_findings_are_told_with_what_to_write_instead(opened: Open, rehearsal: Rehearsal) -> None:
    page = opened(rehearsal, finding("items is written anew")).page

    told = page.get_by_role("article")
    expect(told).to_contain_text("items is written anew")
    expect(told).to_contain_text("2.py:1")
    assert opened(rehearsal).page.get_by_role("article").count() == 0


def test_the_essential_needs_no_script(opened: Open, rehearsal: Rehearsal) -> None:
    one = opened(rehearsal, java_script_enabled=False)
    page = one.page

    assert one.said == []
    expect(page.locator(".lane .stalled").first).to_be_visible()
    expect(page.locator(".scripted")).to_be_hidden()
    page.locator("#statement-1 summary").click()
    expect(page.locator("#statement-1 .locks")).to_contain_text("items: ACCESS EXCLUSIVE")
    expect(page.get_by_role("table")).to_be_visible()


# ---- Whatever the names


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(opened: Open, rehearsal: Rehearsal, text: str) -> None:
    first = replace(
        rehearsal.watched[0], sql=text, file=text, error=text, server=(text,), locks={text: "SHARE"}
    )
    hostile = replace(
        rehearsal,
        base=text,
        postgresql=text,
        verdict=text,
        rows={text: 1, **rehearsal.rows},
        applied=tuple(replace(a, message=text, phase=text, file=text) for a in rehearsal.applied),
        traced=(first, *rehearsal.traced),
        watched=(first, *rehearsal.watched),
        requests=[request(text, "read", 0.001, text), *rehearsal.requests],
    )
    one = opened(hostile, finding(text))
    page = one.page
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    page.locator("#statement-1").hover()

    assert one.said == []
    assert len(one.asked) == 1
    assert page.evaluate("window.owned") is None
    assert page.locator("img, b:not(.locks b), script").count() == 1
    for place in (
        "h1",
        "header code",
        "#statement-1 .does",
        "#statement-1 .locks b",
        "article pre",
    ):
        assert text in page.locator(place).first.inner_text(), place
    assert text in page.title()


def test_characters_that_turn_text_around_or_cannot_be_written_are_replaced(
    opened: Open, rehearsal: Rehearsal
) -> None:
    page = opened(replace(rehearsal, verdict="a\u202eb\x00c\ud800d\x1be")).page

    expect(page.get_by_role("heading", level=1)).to_have_text("a\ufffdb\ufffdc\ufffdd\ufffde")


# ---- Wherever it is read


@pytest.mark.parametrize("name", ["", LONG])
def test_nothing_overflows_a_narrow_screen(opened: Open, rehearsal: Rehearsal, name: str) -> None:
    if name:
        sql = f"ALTER TABLE {name} ADD COLUMN {name} text"
        long = statement(sql, rehearsal.watched[0].started, locks={name: "SHARE"}, revision=name)
        rehearsal = replace(
            rehearsal,
            verdict=name,
            base=name,
            rows={name: 1},
            traced=(long,),
            watched=(long,),
            requests=[request(name, "read", 1)],
        )
    page = opened(rehearsal, finding(name or "a finding"), width=400).page
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")

    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    outside = """all => all.filter(one => {
        const box = one.getBoundingClientRect();
        return box.width && (box.left < -1 || box.right > 401);
    }).map(one => one.outerHTML.slice(0, 200))"""
    assert page.locator("body *:not(svg *)").evaluate_all(outside) == []


# Of WCAG 2.2: 1.4.3 asks for a contrast of 4.5 of text, 1.4.11 for 3 of what is drawn.
CONTRASTS = """() => {
    const channels = colour => colour.match(/[\\d.]+/g).map(Number);
    const luminance = colour => channels(colour).slice(0, 3).map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => {
        const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };
    const ground = element => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if ((channels(colour)[3] ?? 1) === 1) return colour;
        }
    };
    const poor = [];
    for (const one of document.querySelectorAll("body *")) {
        if (["SCRIPT", "title", "desc"].includes(one.tagName)) continue;
        const style = getComputedStyle(one), drawn = one instanceof SVGElement;
        const written = [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        const colours = [];
        if (written) colours.push([drawn ? style.fill : style.color, 4.5]);
        if (one.matches(".run.everybody, .run.writers, .run.nobody, .cross"))
            colours.push([style.stroke, 3]);
        if (one.matches(".calm, .stalled")) colours.push([style.fill, 3]);
        for (const [colour, least] of colours)
            for (const behind of [ground(one), ...(drawn && !written ? [band()] : [])])
                if (contrast(colour, behind) < least)
                    poor.push([one.outerHTML.slice(0, 100), colour, behind]);
    }
    function band() { return getComputedStyle(document.querySelector(".band")).fill; }
    return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_in_the_dark(
    opened: Open, rehearsal: Rehearsal, scheme: str
) -> None:
    page = opened(rehearsal, finding("a finding"), color_scheme=scheme).page
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    page.locator("#statement-1").hover()

    assert page.evaluate(CONTRASTS) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_it_prints_on_white_without_what_needs_a_pointer(
    opened: Open, rehearsal: Rehearsal
) -> None:
    page = opened(rehearsal, color_scheme="dark").page
    page.locator("#statement-1").hover()
    page.emulate_media(media="print", color_scheme="dark")

    expect(page.locator("#focus")).to_be_hidden()
    expect(page.locator("#statement-1 .track")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRASTS) == []


def test_all_statements_are_told(opened: Open, rehearsal: Rehearsal) -> None:
    page = opened(rehearsal).page
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    words = " ".join(page.locator("main").inner_text().split())

    for step in statement_stats(rehearsal):
        assert " ".join(step.statement.sql.split()) in words
