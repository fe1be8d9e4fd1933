"""Rows for any models: values that follow from a row's number and fit types and foreign keys."""

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

# Not from conftest, whose imports take a second that a process of traffic would start with.
ROOT = Path(__file__).parents[3]
HEADER = """
import enum, uuid
from datetime import datetime
from decimal import Decimal
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column
from app.base import Base
"""

START = datetime(2026, 1, 1, tzinfo=UTC)


def base(*, convention: bool = True) -> str:
    """The code of a base for models, with or without a naming convention."""
    code = Path(__file__).with_name("base.py").read_text()
    return code if convention else code.replace("naming_convention=NAMING_CONVENTION", "")


def load(source: str, folder: Path, *, convention: bool = True) -> sa.MetaData:
    """The metadata of a models module, with a base of its own so that two can live side by side."""
    name = f"models_{len(sys.modules)}"
    path = folder / f"{name}.py"
    header = HEADER.replace("from app.base import Base\n", "")
    path.write_text(base(convention=convention) + header + source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metadata: sa.MetaData = module.Base.metadata
    return metadata


@dataclass(frozen=True)
class Rows:
    """What a service may do with the tables that models have before and after a change.

    With `both`, it touches only the columns that both have; otherwise it is the old version and
    sends all that its models have.
    """

    before: sa.MetaData
    after: sa.MetaData
    values: Mapping[str, Sequence[object]]
    count: int
    both: bool

    @cached_property
    def tables(self) -> list[sa.Table]:
        tables = self.before.sorted_tables
        return [table for table in tables if not self.both or table.key in self.after.tables]

    def columns(self, table: sa.Table) -> list[sa.Column[Any]]:
        return [column for column in table.columns if not self.both or self._is_in_both(column)]

    def insert(self, table: sa.Table) -> list[sa.Column[Any]]:
        """The columns of an INSERT; none where a version requires one that the other has not."""
        after = self._after(table)
        required = {
            column.name
            for version in (table, after)
            for column in version.columns
            if not column.nullable and not _is_filled_by_server(column)
        }
        columns = [column for column in self.columns(table) if self.is_sent(column)]
        return columns if required <= {c.name for c in columns} or not self.both else []

    def update(self, table: sa.Table) -> list[sa.Column[Any]]:
        return [column for column in self.insert(table) if not column.primary_key]

    def value(self, column: sa.Column[Any], number: int) -> object:
        if chosen := self.values.get(f"{column.table.fullname}.{column.name}"):
            return chosen[number % len(chosen)]
        for position, constraint in enumerate(self._foreign_keys(column.table)):
            if column.name in constraint.column_keys:
                element = constraint.elements[constraint.column_keys.index(column.name)]
                # Each foreign key takes other steps, so that pairs of them stay unique.
                step = 1 + number // self.count
                return self.value(element.column, (number + position * step) % self.count + 1)
        return _value(column.type, number)

    def _foreign_keys(self, table: sa.Table) -> list[sa.ForeignKeyConstraint]:
        """Also those to come: values must be right for them in time."""
        found = {tuple(c.column_keys): c for c in self._after(table).foreign_key_constraints}
        found |= {tuple(c.column_keys): c for c in table.foreign_key_constraints}
        known = [
            constraint
            for constraint in found.values()
            if constraint.elements[0].target_fullname.rpartition(".")[0] in self.before.tables
        ]
        return sorted(known, key=lambda constraint: list(constraint.column_keys))

    def is_sent(self, column: sa.Column[Any]) -> bool:
        if f"{column.table.fullname}.{column.name}" in self.values:
            return True
        later = self._after(column.table).columns.get(column.name)
        filled = _is_filled_by_server(column)
        return not filled or (
            self.both
            and later is not None
            and later.server_default is None
            and not column.primary_key
        )

    def _is_in_both(self, column: sa.Column[Any]) -> bool:
        later = self._after(column.table).columns.get(column.name)
        return (
            later is not None
            and later.type._type_affinity is column.type._type_affinity
            and isinstance(later.type, sa.Enum) == isinstance(column.type, sa.Enum)
        )

    def _after(self, table: sa.Table) -> sa.Table:
        return self.after.tables.get(table.key, table)


def _is_filled_by_server(column: sa.Column[Any]) -> bool:
    return (
        column.server_default is not None
        or column.identity is not None
        or column.computed is not None
        or column.table.autoincrement_column is column
    )


def _value(kind: TypeEngine[Any], number: int) -> object:
    match kind:
        case sa.ARRAY():
            return [_value(kind.item_type, number)]
        case sa.Enum():
            return kind.enums[number % len(kind.enums)]
        case sa.Boolean():
            return number % 2 == 0
        case sa.DateTime():
            moment = START + timedelta(seconds=number)
            return moment if kind.timezone else moment.replace(tzinfo=None)
        case sa.Date():
            return date(2026, 1, 1) + timedelta(days=number % 10_000)
        case sa.Uuid():
            return UUID(int=number)
        case sa.JSON():
            return {"number": number}
        case sa.Integer() | sa.Numeric():
            return number
        case _:
            return f"v{number}"


def seed(url: str, rows: Rows) -> None:
    """Fill all tables that the models have before the change."""
    with psycopg.connect(url) as connection:
        quote = sa.create_engine("postgresql+psycopg://").dialect.identifier_preparer
        for table in rows.before.sorted_tables:
            columns = [c for c in table.columns if rows.is_sent(c)]
            names = ", ".join(quote.quote(column.name) for column in columns)
            copy = f"COPY {quote.format_table(table)} ({names}) FROM STDIN"
            with connection.cursor().copy(copy.encode()) as lines:
                for number in range(1, rows.count + 1):
                    values = (rows.value(column, number) for column in columns)
                    lines.write_row([json.dumps(v) if isinstance(v, dict) else v for v in values])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
