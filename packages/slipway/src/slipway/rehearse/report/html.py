"""A rehearsal as one page that needs nothing else: statements and requests on one axis of time.

All that moves or has colours is drawn here, with shares of the width instead of pixels, so that the
page needs no script to be read and fits any screen. `page.html` says what stands where.
"""

import math
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mako.template import Template  # type: ignore[import-untyped]

from slipway.locks import MODES, Waiting
from slipway.rehearse.model import CONTROL, READS, AppliedRevision, Rehearsal, Request
from slipway.rehearse.report import describe
from slipway.rehearse.report.stats import (
    Latency,
    StatementRun,
    StatementStats,
    TableStats,
    noise,
    statement_stats,
    table_stats,
)
from slipway.report import Finding

FOLDER = Path(__file__).parent
WIDTH = 1000  # steps that the time axis is drawn in
HEIGHT = 64  # of a lane, in pixels
# What is drawn over all lanes, so that the page stays small with any number of tables.
MOST_MARKS, MOST_CROSSES = 40_000, 6_000
MOST_STEPS, MOST_BARS = 300, 100
MOST_SQL, MOST_SQL_OF_ALL = 4000, 400_000  # characters
FEW_TABLES = 6  # are all shown; of more, those without effect on requests are folded
# Slower than this, people notice (Nielsen, Usability Engineering, chapter 5).
NOTICED = 0.1
SHORTEST = 0.0005  # seconds at the foot of a lane


def page(rehearsal: Rehearsal, findings: Sequence[Finding] = ()) -> str:
    """The HTML of the page, in UTF-8; whatever the migrations or the database say is text in it."""
    style, script = (
        (FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    template = Template(  # noqa: S702 - all that it is given is escaped by default
        filename=str(FOLDER / "page.html"),
        input_encoding="utf-8",
        default_filters=["shown", "h"],
        imports=["from slipway.rehearse.report.describe import shown"],
        strict_undefined=True,
    )
    html: str = template.render(
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        picture=_picture(rehearsal),
        rehearsal=rehearsal,
        findings=findings,
        modes=MODES,
        noticed=NOTICED,
        words=describe,
    )
    return html.lstrip()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


# ---- What is drawn


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of the time axis, in percent of the width."""

    x: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Row:
    number: int
    step: StatementStats
    waiting: Waiting
    noticed: bool
    span: Span | None
    held: list[Span]
    running: list[Span]
    failed: list[float]


@dataclass(frozen=True, kw_only=True)
class Band:
    revision: str
    file: str
    applied: AppliedRevision | None
    span: Span | None
    rows: list[Row]
    settings: list[StatementStats]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The requests of one kind to a table: areas as SVG paths, failures as places."""

    kind: str
    latency: Latency
    calm: str
    stalled: str
    failed: list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Chart:
    number: int
    table: TableStats
    lanes: list[Lane]


@dataclass(frozen=True, kw_only=True)
class Line:
    y: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    bands: list[Band]
    charts: list[Chart]
    calm_charts: list[Chart]
    ticks: list[tuple[float, str]]
    lines: list[Line]
    lock_timeout: Line
    noise: Line | None
    height: int
    width: int
    most_sql: int
    left_out: int

    @property
    def spans(self) -> list[Span]:
        return [band.span for band in self.bands if band.span]


@dataclass(frozen=True)
class Axes:
    """Time to the right, in percent; seconds of latency upwards, in pixels and by their logarithm.

    `zero` is the moment that the time is counted from.
    """

    begin: float
    end: float
    zero: float
    slowest: float

    def x(self, moment: float) -> float:
        share = (moment - self.begin) / (self.end - self.begin)
        return round(100 * min(max(share, 0), 1), 2)

    def y(self, seconds: float) -> float:
        share = math.log(max(seconds, SHORTEST) / SHORTEST) / math.log(self.slowest / SHORTEST)
        return round(HEIGHT * (1 - min(share, 1)), 1)

    def span(self, begin: float, end: float) -> Span:
        x = self.x(begin)
        return Span(x=x, width=round(self.x(end) - x, 2))

    def bucket(self, moment: float) -> int:
        return int((moment - self.begin) / (self.end - self.begin) * WIDTH)


def _picture(rehearsal: Rehearsal) -> Picture:
    all_steps = statement_stats(rehearsal)
    axes = _axes(rehearsal, all_steps)
    charts = _charts(rehearsal.requests, table_stats(rehearsal), axes)
    shown = max(FEW_TABLES, sum(chart.table.is_slow(NOTICED) for chart in charts))
    numbered = list(enumerate((s for s in all_steps if not describe.is_setting(s)), 1))
    longest = sorted(numbered, key=lambda one: -one[1].seconds)[:MOST_STEPS]
    quiet = noise(rehearsal.requests)
    return Picture(
        bands=_bands(
            rehearsal,
            sorted(longest, key=lambda one: one[0]),
            [step for step in all_steps if describe.is_setting(step)][:MOST_STEPS],
            axes,
        ),
        charts=charts[:shown],
        calm_charts=charts[shown:],
        ticks=_ticks(axes),
        lines=[
            Line(y=axes.y(seconds), label=describe.duration(seconds))
            for seconds in (0.001, 0.01, 0.1, 1, 10, 100)
            if seconds < axes.slowest
        ],
        lock_timeout=Line(
            y=axes.y(rehearsal.lock_timeout),
            label=f"lock timeout {describe.duration(rehearsal.lock_timeout)}"
            if rehearsal.lock_timeout
            else "no lock timeout",
        ),
        noise=Line(y=axes.y(quiet.longest), label=f"noise {describe.duration(quiet.longest)}")
        if quiet.requests
        else None,
        height=HEIGHT,
        width=WIDTH,
        most_sql=min(MOST_SQL, MOST_SQL_OF_ALL // max(len(longest), 1)),
        left_out=len(numbered) - len(longest),
    )


def _axes(rehearsal: Rehearsal, all_steps: Iterable[StatementStats]) -> Axes:
    """From a little before the first statement until all requests that waited have been served."""
    requests = rehearsal.requests
    spans = [(one.started, one.started + one.seconds) for one in rehearsal.applied]
    spans += [(run.started, run.released) for step in all_steps for run in step.runs]
    spans = spans or [(r.started, r.started + r.seconds) for r in requests] or [(0, 1)]
    zero, done = min(begin for begin, _ in spans), max(end for _, end in spans)
    served = (r.started + r.seconds for r in requests if r.started < done)
    around = max(0.25, (done - zero) / 10)
    slowest = max((r.seconds for r in requests), default=0)
    return Axes(
        begin=zero - around,
        end=max(done, *served, done) + around,
        zero=zero,
        slowest=1.5 * max(slowest, rehearsal.lock_timeout, 1),
    )


def _ticks(axes: Axes) -> list[tuple[float, str]]:
    """At round seconds, five to ten of them."""
    rough = (axes.end - axes.zero) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= rough)
    number = int((axes.end - axes.zero) / step)
    return [(axes.x(axes.zero + i * step), f"{i * step:.6g} s") for i in range(number + 1)]


# ---- Statements


def _bands(
    rehearsal: Rehearsal,
    numbered: Iterable[tuple[int, StatementStats]],
    settings: Sequence[StatementStats],
    axes: Axes,
) -> list[Band]:
    rows: dict[str, list[Row]] = {applied.revision: [] for applied in rehearsal.applied}
    files = {applied.revision: applied.file for applied in rehearsal.applied}
    for number, step in numbered:
        files.setdefault(step.statement.revision, step.statement.file)
        rows.setdefault(step.statement.revision, []).append(_row(number, step, axes))
    by_revision = {applied.revision: applied for applied in rehearsal.applied}
    return [
        Band(
            revision=revision,
            file=Path(files[revision]).name,
            applied=(applied := by_revision.get(revision)),
            span=axes.span(applied.started, applied.started + applied.seconds) if applied else None,
            rows=found,
            settings=[step for step in settings if step.statement.revision == revision],
        )
        for revision, found in rows.items()
    ]


def _row(number: int, step: StatementStats, axes: Axes) -> Row:
    runs = step.runs
    return Row(
        number=number,
        step=step,
        waiting=describe.waiting(step),
        noticed=any(run.released - run.started > NOTICED for run in runs),
        span=axes.span(runs[0].started, max(run.released for run in runs)) if runs else None,
        held=_merged(((run.ended, run.released) for run in runs), axes) if step.blocking else [],
        running=_merged(((run.started, run.ended) for run in runs), axes),
        failed=sorted({axes.x(run.ended) for run in _spread(step.failed)}),
    )


def _merged(times: Iterable[tuple[float, float]], axes: Axes) -> list[Span]:
    """Spans without gaps that are too small to see."""
    ends: list[tuple[float, float]] = []
    seen = (axes.end - axes.begin) / MOST_BARS
    for begin, end in sorted(times):
        if ends and begin - ends[-1][1] < (seen if len(ends) >= MOST_BARS / 2 else 0):
            ends[-1] = (ends[-1][0], max(end, ends[-1][1]))
        else:
            ends.append((begin, end))
    return [axes.span(begin, end) for begin, end in ends]


def _spread(runs: Sequence[StatementRun]) -> Sequence[StatementRun]:
    return runs[:: math.ceil(len(runs) / MOST_BARS) or 1]


# ---- Requests


def _charts(
    requests: Iterable[Request], summarized: Sequence[TableStats], axes: Axes
) -> list[Chart]:
    by_lane: dict[tuple[str, bool], list[Request]] = defaultdict(list)
    for request in requests:
        if request.kind != CONTROL:
            by_lane[request.table, request.kind in READS].append(request)
    lanes = 2 * max(len(summarized), 1)
    marks = min(WIDTH, max(MOST_MARKS // lanes, 1))
    crosses = min(MOST_BARS, max(MOST_CROSSES // lanes, 1))
    return [
        Chart(
            number=number,
            table=table,
            lanes=[
                _lane("reads", table.reads, by_lane[table.name, True], axes, marks, crosses),
                _lane("writes", table.writes, by_lane[table.name, False], axes, marks, crosses),
            ],
        )
        for number, table in enumerate(summarized, 1)
    ]


def _lane(
    kind: str, latency: Latency, requests: Iterable[Request], axes: Axes, marks: int, crosses: int
) -> Lane:
    """At each moment, the longest that a request took which was under way then."""
    grain = math.ceil(WIDTH / marks)
    slowest = [0.0] * math.ceil(WIDTH / grain)
    failed: dict[int, float] = {}
    for request in requests:
        first = axes.bucket(request.started) // grain
        last = axes.bucket(request.started + request.seconds) // grain
        for bucket in range(max(first, 0), min(last + 1, len(slowest))):
            slowest[bucket] = max(slowest[bucket], request.seconds)
        if request.error and 0 <= last < len(slowest):
            place = last * grain * crosses // WIDTH
            failed[place] = max(failed.get(place, 0), request.seconds)
    return Lane(
        kind=kind,
        latency=latency,
        calm=_area([s if s <= NOTICED else 0 for s in slowest], grain, axes),
        stalled=_area([s if s > NOTICED else 0 for s in slowest], grain, axes),
        failed=[
            (round((place + 0.5) * 100 / crosses, 2), axes.y(seconds))
            for place, seconds in sorted(failed.items())
        ],
    )


def _area(heights: Sequence[float], grain: int, axes: Axes) -> str:
    """An SVG path around what lies below these seconds, neighbours of one height as one."""
    path: list[str] = []
    open_at = 0.0
    for bucket, seconds in enumerate([*heights, 0]):
        # A request of no measurable length is still to be seen.
        top = min(axes.y(seconds), HEIGHT - 1) if seconds else 0
        if top == open_at:
            continue
        x = min(bucket * grain, WIDTH)
        if open_at:
            path.append(f"H{x}")
        if top:
            path.append(f"V{top:g}" if open_at else f"M{x} {HEIGHT}V{top:g}")
        else:
            path.append(f"V{HEIGHT}Z")
        open_at = top
    return "".join(path)
