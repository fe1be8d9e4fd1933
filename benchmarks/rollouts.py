"""Rolls out changes of the schema under load, as we and as stock Alembic write them.

uv run python -m benchmarks.rollouts [--only WORDS] [--output docs/rollouts.md]
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "template/src"))

import devdb  # noqa: E402
from benchmarks.changes import failed, server_version  # noqa: E402
from benchmarks.harness import machine, rendered  # noqa: E402
from tests.migrator.modelled import configure_stock  # noqa: E402
from tests.project import Project  # noqa: E402
from tests.rolling.load import CLIENTS, PAUSE  # noqa: E402
from tests.rolling.outcome import Outcome  # noqa: E402
from tests.rolling.replicas import Release  # noqa: E402
from tests.rolling.rollout import LOCK_TIMEOUT, SLOW, roll_out  # noqa: E402
from tests.rolling.scenarios import (  # noqa: E402
    SCENARIOS,
    Scenario,
    create_database,
    prepare,
    write,
)

PAGE = """\
# Rolling deploys under load

Written by `uv run python -m benchmarks.rollouts`, never by hand: changes of the schema, each \
rolled out twice. *Ours* is the recipe in the guide to migrations, release by release up to the \
contract step, with a lock timeout of {lock_timeout:g} s. *Stock* is the same change of the models \
in one release, with what stock Alembic's autogenerate writes (its own async template, no \
timeouts). It cannot see a rename: that one is written by hand, with `op.alter_column`.

In each run, two replicas of the old version serve behind HAProxy, and {clients} clients read and \
write all the time, each resting for {pause:g} s after a request. For each release, the migration \
comes first; when it begins, one slow client has changed a row of each table, and ends its \
transaction {slow:g} s after somebody first waits for it. Then one replica after the other is \
stopped, and the new version started in its place; all of it counts. There are 1,000 users and \
1,000 posts, for the index {rows:,} posts.

- *failed*: requests that did not end with a status of success.
- *longest*: from a request to its answer, in ms. The proxy's own answer took at most {noise} ms \
in these runs: less than that says nothing.
- An upgrade that failed says why below the table; the rollout ends there. One that saw no change \
leaves a service that fails when it first writes the new value.

{facts} PostgreSQL {postgresql}.

| change | stock: failed | longest, ms | upgrade | ours: releases | failed | longest, ms |
|---|--:|--:|---|--:|--:|--:|
{table}

{notes}
"""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="changes whose name has these words")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/rollouts.md")
    options = parser.parse_args()
    # Without compiled files, a replica takes several times as long to start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    scenarios = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    pairs = []
    with rendered() as project, devdb.temporary_server() as server:
        project.commit()
        for number, scenario in enumerate(scenarios, 1):
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                pairs.append(_measure(project, scenario, server, Path(folder)))
            project.restore()
            seconds = time.monotonic() - started
            print(f"{number}/{len(scenarios)} {scenario.name}, {seconds:.0f} s", flush=True)
        page = _page(pairs, machine(project), server_version(server))
    options.output.write_text(page)


def _measure(project: Project, scenario: Scenario, server: str, folder: Path) -> Pair:
    old, *releases = write(project, scenario, create_database(server), folder)
    database = create_database(server)
    prepare(old, scenario, database)
    ours = roll_out(old, releases, database, folder / "logs")
    if ours.problem:
        sys.exit(ours.problem)
    database = create_database(server)
    prepare(old, scenario, database)
    release, empty = _stock(scenario, old, releases[-1], database, folder / "stock")
    stock = roll_out(old, [release], database, folder / "logs of stock")
    return Pair(scenario, ours, stock, empty)


def _stock(
    scenario: Scenario, old: Release, last: Release, database: str, folder: Path
) -> tuple[Release, bool]:
    """The last release with one migration, of stock Alembic, in the place of ours; is it empty?"""
    versions = Path("src/migrations/versions")
    shutil.copytree(last.folder / "src", folder / "src")
    shutil.rmtree(folder / versions)
    shutil.copytree(old.folder / versions, folder / versions)
    url = database.replace("postgresql://", "postgresql+asyncpg://")
    configure_stock(folder, "src/migrations", url)
    release = Release(folder, last.python)
    by_hand = BY_HAND.get(scenario.name)
    how = [] if by_hand else ["--autogenerate"]
    before = set((folder / versions).glob("*.py"))
    release.run("alembic", "revision", *how, "-m", scenario.name)
    [revision] = set((folder / versions).glob("*.py")) - before
    if by_hand:
        revision.write_text(revision.read_text().replace("pass", by_hand, 1))
    return release, "op." not in revision.read_text().partition("def upgrade")[2]


def _page(pairs: list[Pair], facts: str, postgresql: str) -> str:
    reasons: list[str] = []
    table = []
    for pair in pairs:
        upgrade = "saw no change" if pair.stock_is_empty else "done"
        if pair.stock.problem:
            upgrade = failed(pair.stock.problem, reasons)
        releases = str(len(pair.scenario.releases))
        cells = [pair.scenario.name, *_measured(pair.stock), upgrade, releases]
        table.append([*cells, *_measured(pair.ours)])
    controls = [request for pair in pairs for o in (pair.stock, pair.ours) for request in o.control]
    return PAGE.format(
        lock_timeout=LOCK_TIMEOUT,
        clients=CLIENTS,
        pause=PAUSE,
        slow=SLOW,
        rows=max(pair.scenario.rows for pair in pairs),
        noise=round(1000 * max(request.seconds for request in controls)),
        facts=facts,
        postgresql=postgresql,
        table="\n".join(f"| {' | '.join(cells)} |" for cells in table),
        notes="\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1)),
    )


def _measured(outcome: Outcome) -> list[str]:
    longest = max(request.seconds for request in outcome.service)
    return [str(len(outcome.failed)), f"{1000 * longest:.0f}"]


if __name__ == "__main__":
    main()
