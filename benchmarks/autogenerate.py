"""What `alembic revision --autogenerate` costs with many tables, beside stock Alembic's."""

from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import alembic, here, new_database, ratio, rounds, table
from packages.slipway.tests.changes import AMOUNT, NAME, column, model
from packages.slipway.tests.modelled import ModelledHistory
from slipway import devdb

TABLES, FEW_TABLES = 200, 20
SAME, CHANGED = "nothing changed", "one table got an indexed column"
STOCK, OURS = "stock", "**ours**"

INTRODUCTION = """\
## Autogenerate

`alembic revision --autogenerate` as a process of its own, with {tables} tables of five columns, \
an index and a foreign key. *Stock* is the env.py of `alembic init -t pyproject_async`; *ours* is \
Slipway's, which also compares defaults and writes the safe form. \
Where nothing changed, stock writes an empty revision, ours none. Medians of {rounds} \
interleaved rounds."""


def measure(quick: bool) -> str:
    count, tables = (1, FEW_TABLES) if quick else (5, TABLES)
    with TemporaryDirectory() as folder, devdb.temporary_server() as server:
        histories = {
            (case, form): _history(Path(folder) / f"{form.strip('*')}_{number}", server, form)
            for number, case in enumerate((SAME, CHANGED))
            for form in (STOCK, OURS)
        }
        for (case, _), history in histories.items():
            _prepare(history, tables, changed=case == CHANGED)
        found = rounds(
            {name: partial(_generate, history) for name, history in histories.items()}, count
        )
    rows = [
        [f"{case}: {form}", f"{median(times):.2f}", f"{ratio(times, found[case, STOCK]):.2f}"]
        for (case, form), times in found.items()
    ]
    introduction = INTRODUCTION.format(tables=tables, rounds=count)
    return "\n\n".join([introduction, here(), table(["", "s", "times stock"], rows)])


def _history(folder: Path, server: str, form: str) -> ModelledHistory:
    folder.mkdir()
    return ModelledHistory(folder, new_database(server, folder.name), stock=form == STOCK)


def _prepare(history: ModelledHistory, tables: int, *, changed: bool) -> None:
    """A database with the tables, models that may have changed since, and both compiled."""
    history.models(_models(tables))
    history.generate("before")
    history.upgrade()
    history.models(_models(tables, LATER) if changed else _models(tables))
    _generate(history)


LATER = column("later", "str | None", "index=True")


def _models(tables: int, *later: str) -> str:
    """Models that refer to each other in a chain; the first one also has the lines `later`."""
    at = column("at", "datetime", "server_default=sa.func.now()")
    first = model("table_0", NAME, AMOUNT, at, *later)
    return first + "".join(
        model(
            f"table_{number}",
            column("name", "str", "sa.String(100)", "index=True"),
            AMOUNT,
            at,
            column("parent_id", "int", "sa.BigInteger", f'sa.ForeignKey("table_{number - 1}.id")'),
        )
        for number in range(1, tables)
    )


def _generate(history: ModelledHistory) -> float:
    """The seconds that it takes; what it writes is removed."""
    versions = history.folder / "migrations/versions"
    before = set(versions.glob("*.py"))
    taken = alembic(history, "revision", "--autogenerate", "-m", "later")
    for path in set(versions.glob("*.py")) - before:
        path.unlink()
    return taken
