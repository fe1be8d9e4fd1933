"""The names that PostgreSQL chooses for constraints and indexes that have none.

Autogenerate needs them before the objects exist: it attaches, validates and drops by name. The
rules are those of makeObjectName and ChooseIndexNameAddition (src/backend/commands/indexcmds.c)
and ChooseConstraintName (src/backend/catalog/pg_constraint.c), the same since PostgreSQL 8.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import ColumnElement, Index
from sqlalchemy.dialects.postgresql import dialect
from sqlalchemy.sql.elements import ColumnClause, UnaryExpression, conv

MAX_BYTES = 63  # NAMEDATALEN - 1

_PREPARER = dialect().identifier_preparer  # type: ignore[no-untyped-call]


def shortened(*parts: str) -> str:
    """Join parts of a name; where it is too long for PostgreSQL, shorten it as SQLAlchemy does."""
    name = conv("_".join(parts))
    return _PREPARER.truncate_and_render_constraint_name(name, _alembic_quote=False)


def object_name(table: str, columns: str | None, label: str) -> str:
    """Join the parts of a name, cutting bytes from the longer of the first two until it fits.

    Args:
        columns: those of the object, joined; None for a primary key or a check of several columns.
        label: what kind of object it is, with a number where names without one are taken.
    """
    parts = [part.encode() for part in (table, columns) if part is not None]
    lengths = [len(part) for part in parts]
    available = MAX_BYTES - len(label) - len(parts)
    while sum(lengths) > available:
        # Of two that are equally long, PostgreSQL cuts the second.
        longer = 0 if len(lengths) == 1 or lengths[0] > lengths[1] else 1
        lengths[longer] -= 1
    cut = [_clip(part, length) for part, length in zip(parts, lengths, strict=True)]
    return "_".join([*cut, label])


def joined(columns: Iterable[str]) -> str:
    """Join the names of columns for `object_name`, leaving out those that begin past its limit."""
    joined = ""
    for column in columns:
        name = _clip(column.encode(), MAX_BYTES)
        joined = f"{joined}_{name}" if joined else name
        if len(joined.encode()) > MAX_BYTES:
            break
    return joined


def index_columns(index: Index) -> list[str]:
    """Name the columns of an index, those that it includes too, as they are in its own name."""
    included = index.dialect_options["postgresql"]["include"] or ()
    names: list[str] = []
    for column in (*index.expressions, *included):
        name = _column_name(column)
        numbered = (_numbered(name, number) for number in count())
        names.append(next(name for name in numbered if name not in names))
    return names


def _column_name(column: ColumnElement[Any] | str) -> str:
    while isinstance(column, UnaryExpression):  # DESC, NULLS FIRST
        column = column.element
    if isinstance(column, ColumnClause):
        return str(column.name)
    return column if isinstance(column, str) else "expr"


def _numbered(name: str, number: int) -> str:
    suffix = str(number or "")
    return _clip(name.encode(), MAX_BYTES - len(suffix)) + suffix


def _clip(name: bytes, length: int) -> str:
    """As many whole characters as fit into this many bytes."""
    return name[:length].decode(errors="ignore")


@dataclass
class TakenNames:
    """Names in use in one schema: relations (tables, indexes, sequences) and constraints."""

    relations: set[str] = field(default_factory=set)
    constraints: set[str] = field(default_factory=set)

    def choose(
        self, table: str, columns: Sequence[str], label: str, free: Collection[str] = ()
    ) -> str:
        """Choose as PostgreSQL does, with a number where the name is taken; take the choice.

        Args:
            columns: those of the object; none for a primary key, or a check of several.
            label: one of `pkey`, `key`, `excl`, `idx`, `fkey`, `check`.
            free: names that are in use and will not be when the object is made.
        """
        addition = joined(columns) if columns else None
        names = (object_name(table, addition, f"{label}{n or ''}") for n in count())
        name = next(name for name in names if name in free or name not in self._of(label))
        self.take(name, label)
        return name

    def take(self, name: str, label: str) -> None:
        if label not in {"fkey", "check"}:
            self.relations.add(name)
        if label != "idx":
            self.constraints.add(name)

    def _of(self, label: str) -> set[str]:
        match label:
            case "fkey" | "check":
                return self.constraints
            case "idx":
                return self.relations
            case _:
                return self.relations | self.constraints
