"""What a backfill is, and the files that declare them."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from alembic.util import CommandError
from alembic.util.pyfiles import load_python_file
from sqlalchemy import Connection

Rows = Sequence[dict[str, Any]]
Change = Callable[[Connection, Rows], object]


class BackfillError(CommandError):
    """The backfill cannot be done as it is written; the message says why and what to do."""


@dataclass(frozen=True)
class Backfill:
    """The rows of a table that still need something, and what is done to them.

    Attributes:
        table: its name, quoted as SQL needs it, with its schema if it has one.
        change: what follows SET, as SQL; or, for what SQL cannot say, a function that gets the
            connection and the rows of a batch, all columns by name, and changes them. They are
            locked, and it neither commits nor rolls back.
        where: the rows that still need it, as SQL. One that was changed must no longer meet it:
            so nothing is done twice, whatever happens.
    """

    table: str
    change: str | Change
    _: KW_ONLY
    where: str


def names(folder: Path) -> list[str]:
    """The backfills that are declared in a folder."""
    return sorted(file.stem for file in folder.glob("*.py") if file.name != "__init__.py")


def load(folder: Path, name: str) -> Backfill:
    """The backfill that `NAME.py` declares as `backfill`.

    Raises:
        BackfillError: there is no such file, or it does not declare one.
    """
    if name not in names(folder):
        known = ", ".join(names(folder)) or "none yet"
        raise BackfillError(f"There is no backfill {name!r} in {folder}; there are: {known}")
    try:
        declared = getattr(load_python_file(folder, f"{name}.py"), "backfill", None)
    except Exception as error:
        raise BackfillError(f"{name}.py: {type(error).__name__}: {error}") from error
    if not isinstance(declared, Backfill):
        raise BackfillError(f"{name}.py has no `backfill = Backfill(…)`")
    return declared
