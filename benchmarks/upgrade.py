"""What `alembic upgrade head` costs by the number of revisions, beside stock Alembic's."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import (
    Revision,
    alembic,
    difference,
    here,
    new_database,
    ratio,
    rounds,
    table,
    write_revisions,
)
from packages.slipway.tests.modelled import ModelledHistory
from slipway import devdb

SIZES = (1, 100, 1000)
STOCK, EACH, OURS = (
    "stock, all in one transaction",
    "stock, a transaction for each revision",
    "**ours**",
)
FORMS = (STOCK, EACH, OURS)
UPGRADE = ("upgrade", "head")
CONFIGURED = "context.configure(connection=connection, "

INTRODUCTION = """\
## Upgrade

`alembic upgrade head` as a process of its own, on an empty database and on one that is there \
already, with a history of so many revisions that each create a table. *Stock* is the env.py of \
`alembic init -t pyproject_async`, as it is and with `transaction_per_migration=True`; *ours* is \
the template's, with its advisory lock, timeouts, retries, report of each revision and the checks \
in the end. The server keeps nothing on disk, so a transaction costs little here. Medians of \
{rounds} interleaved rounds."""


@dataclass(frozen=True)
class Times:
    upgrade: float
    nothing: float


def measure(quick: bool) -> str:
    count, sizes = (1, SIZES[:2]) if quick else (3, SIZES)
    with TemporaryDirectory() as folder, devdb.temporary_server() as server:
        histories = {
            (size, form): _history(Path(folder) / f"{size}-{number}", server, size, form)
            for size in sizes
            for number, form in enumerate(FORMS)
        }
        for history in histories.values():  # compiles the revisions
            _times(server, history)
        found = rounds(
            {name: partial(_times, server, history) for name, history in histories.items()}, count
        )
    upgrade = {name: [times.upgrade for times in all] for name, all in found.items()}
    nothing = {name: [times.nothing for times in all] for name, all in found.items()}
    rows = [
        [f"{size:,}: {form}", *_cells(upgrade, size, form), *_cells(nothing, size, form)]
        for size, form in found
    ]
    header = ["revisions", "s", "times stock", "nothing to do, s", "times stock"]
    introduction = INTRODUCTION.format(rounds=count)
    return "\n\n".join([introduction, here(), table(header, rows), _overhead(upgrade, sizes[-1])])


Measured = Mapping[tuple[int, str], list[float]]


def _cells(measured: Measured, size: int, form: str) -> list[str]:
    times = measured[size, form]
    return [f"{median(times):.2f}", f"{ratio(times, measured[size, STOCK]):.2f}"]


def _overhead(measured: Measured, most: int) -> str:
    fixed = {form: difference(measured[1, form], measured[1, STOCK]) for form in (EACH, OURS)}
    each = {
        form: (difference(measured[most, form], measured[most, STOCK]) - fixed[form]) / (most - 1)
        for form in (EACH, OURS)
    }
    return (
        f"Beside stock, ours takes {1000 * fixed[OURS]:+.0f} ms with one revision, and "
        f"{1000 * each[OURS]:+.2f} ms for each further one, of which the transactions are "
        f"{1000 * each[EACH]:+.2f} ms."
    )


def _history(folder: Path, server: str, size: int, form: str) -> ModelledHistory:
    folder.mkdir()
    history = ModelledHistory(folder, new_database(server, _name(folder)), stock=form != OURS)
    history.models("")
    write_revisions(
        folder / "migrations/versions",
        (Revision(CREATE.format(number=n), f'op.drop_table("t{n}")') for n in range(size)),
    )
    if form == EACH:
        env = folder / "migrations/env.py"
        before, configured, after = env.read_text().partition(CONFIGURED)
        if not configured:
            raise SystemExit("Alembic's env.py is another one now: mend this benchmark")
        env.write_text(f"{before}{configured}transaction_per_migration=True, {after}")
    return history


CREATE = """\
op.create_table(
    "t{number}",
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now()),
)
"""


def _name(folder: Path) -> str:
    return "upgrade_" + folder.name.replace("-", "_")


def _times(server: str, history: ModelledHistory) -> Times:
    new_database(server, _name(history.folder))
    return Times(alembic(history, *UPGRADE), alembic(history, *UPGRADE))
