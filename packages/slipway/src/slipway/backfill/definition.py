"""Backfills, and the files that declare them."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from alembic.util import CommandError
from alembic.util.pyfiles import load_python_file
from sqlalchemy import Connection

Rows = Sequence[dict[str, Any]]
ChangeFunction = Callable[[Connection, Rows], object]


class BackfillError(CommandError):
    """A backfill cannot be run as it is written; the message says why and what to do."""


@dataclass(frozen=True)
class Backfill:
    """A change of the rows of a table that still need it.

    Example: `Backfill("users", "email = lower(email)", where="email <> lower(email)")`.

    Attributes:
        table: its name, quoted as SQL needs it, with its schema if it has one.
        change: what follows SET, as SQL; or, where SQL is not enough, a function that is given the
            connection and the rows of a batch, all columns by name, and changes them. The rows are
            locked; the function neither commits nor rolls back.
        where: SQL condition of the rows that still need the change. A changed row must no longer
            meet it: so no row is changed twice, whatever happens.
    """

    table: str
    change: str | ChangeFunction
    _: KW_ONLY
    where: str


def list_backfills(folder: Path) -> list[str]:
    """Return the names of the backfills that are declared in a folder, sorted."""
    return sorted(file.stem for file in folder.glob("*.py") if file.name != "__init__.py")


def load_backfill(folder: Path, name: str) -> Backfill:
    """Load the backfill that `NAME.py` declares as `backfill`.

    Raises:
        BackfillError: there is no such file, or it does not declare one.
    """
    names = list_backfills(folder)
    if name not in names:
        known = ", ".join(names) or "none yet"
        raise BackfillError(f"There is no backfill {name!r} in {folder}; there are: {known}")
    try:
        declared = getattr(load_python_file(folder, f"{name}.py"), "backfill", None)
    except Exception as error:
        raise BackfillError(f"{name}.py: {type(error).__name__}: {error}") from error
    if not isinstance(declared, Backfill):
        raise BackfillError(f"{name}.py has no `backfill = Backfill(…)`")
    return declared
