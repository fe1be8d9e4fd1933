"""Changes of the schema rolled out under load, as we and as stock Alembic write them."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.changes import failed
from benchmarks.harness import machine, rendered, table
from packages.slipway.tests.modelled import configure_stock
from slipway import devdb
from tests.project import Project
from tests.rolling.load import CLIENTS, PAUSE
from tests.rolling.outcome import Outcome
from tests.rolling.replicas import Release
from tests.rolling.rollout import LOCK_TIMEOUT, SLOW, roll_out
from tests.rolling.scenarios import SCENARIOS, Scenario, create_database, prepare, write

INTRODUCTION = """\
# Rolling deploys under load

Changes of the schema, each rolled out twice. *Ours* is the recipe in the guide to migrations, \
release by release up to the contract step, with a lock timeout of {lock_timeout:g} s. *Stock* is \
the same change of the models in one release, with what stock Alembic's autogenerate writes (its \
own async template, no timeouts). It cannot see a rename: that one is written by hand, with \
`op.alter_column`.

In each run, two replicas of the old version serve behind HAProxy, and {clients} clients read and \
write all the time, each resting for {pause:g} s after a request. For each release, the migration \
comes first; when it begins, one slow client has changed a row of each table, and ends its \
transaction {slow:g} s after somebody first waits for it. Then one replica after the other is \
stopped, and the new version started in its place; all of it counts. There are 1,000 users and \
1,000 posts, for the index {rows:,} posts.

- *failed*: requests that did not end with a status of success.
- *longest*: from a request to its answer. The proxy's own answer took at most {noise:.0f} ms in \
these runs: less than that says nothing.
- An upgrade that failed says why below the table; the rollout ends there. One that saw no change \
leaves a service that fails when it first writes the new value."""
HEADER = [
    *("change", "stock: failed", "longest, ms", "upgrade"),
    *("ours: releases", "failed", "longest, ms"),
]
# What nobody would leave to autogenerate.
BY_HAND = {
    "rename by expand and contract": (
        'op.alter_column("users", "full_name", new_column_name="display_name")'
    )
}


@dataclass(frozen=True)
class Pair:
    scenario: Scenario
    ours: Outcome
    stock: Outcome
    stock_is_empty: bool


def measure(quick: bool) -> str:
    scenarios = SCENARIOS[:1] if quick else SCENARIOS
    with rendered() as project, devdb.temporary_server() as server:
        project.commit()
        pairs = [_measure(project, server, scenario) for scenario in scenarios]
        facts = machine(project)
    reasons: list[str] = []
    rows = []
    for pair in pairs:
        cells = [pair.scenario.name, *_requests(pair.stock), _upgrade(pair, reasons)]
        rows.append([*cells, str(len(pair.scenario.releases)), *_requests(pair.ours)])
    controls = [request for pair in pairs for o in (pair.ours, pair.stock) for request in o.control]
    introduction = INTRODUCTION.format(
        lock_timeout=LOCK_TIMEOUT,
        clients=CLIENTS,
        pause=PAUSE,
        slow=SLOW,
        rows=max(scenario.rows for scenario in scenarios),
        noise=1000 * max(request.seconds for request in controls),
    )
    notes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))
    return "\n\n".join([introduction, facts, table(HEADER, rows), notes])


def _measure(project: Project, server: str, scenario: Scenario) -> Pair:
    with TemporaryDirectory() as name:
        folder = Path(name)
        old, *releases = write(project, scenario, create_database(server), folder)
        project.restore()
        database = create_database(server)
        prepare(old, scenario, database)
        ours = roll_out(old, releases, database, folder / "logs")
        if ours.problem:
            raise SystemExit(ours.problem)
        database = create_database(server)
        prepare(old, scenario, database)
        release = _stock(old, releases[-1], database, folder / "stock")
        empty = _write_revision(release, scenario)
        stock = roll_out(old, [release], database, folder / "logs of stock")
    return Pair(scenario, ours, stock, empty)


def _stock(old: Release, last: Release, database: str, folder: Path) -> Release:
    """The last release with stock Alembic, whose history ends with the old version."""
    versions = Path("src/migrations/versions")
    shutil.copytree(last.folder / "src", folder / "src")
    shutil.rmtree(folder / versions)
    shutil.copytree(old.folder / versions, folder / versions)
    url = database.replace("postgresql://", "postgresql+asyncpg://")
    configure_stock(folder, "src/migrations", url, "app.core.db.base")
    return Release(folder, last.python)


def _write_revision(release: Release, scenario: Scenario) -> bool:
    """Write the one revision; is it empty?"""
    versions = release.folder / "src/migrations/versions"
    before = set(versions.glob("*.py"))
    by_hand = BY_HAND.get(scenario.name)
    how = [] if by_hand else ["--autogenerate"]
    release.run("alembic", "revision", *how, "-m", scenario.name)
    [revision] = set(versions.glob("*.py")) - before
    if by_hand:
        revision.write_text(revision.read_text().replace("pass", by_hand, 1))
    return "op." not in revision.read_text().partition("def upgrade")[2]


def _requests(outcome: Outcome) -> list[str]:
    longest = max(request.seconds for request in outcome.service)
    return [str(len(outcome.failed)), f"{1000 * longest:.0f}"]


def _upgrade(pair: Pair, reasons: list[str]) -> str:
    """`done`, or the number of the reason why not."""
    if pair.stock.problem:
        return failed(pair.stock.problem, reasons)
    return "saw no change" if pair.stock_is_empty else "done"
