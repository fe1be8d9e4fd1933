"""What the traffic sends to a table: statements on the rows that it has, and new rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from slipway.rehearse.model import CONTROL
from slipway.rehearse.seeding.catalogue import CatalogColumn, CatalogTable, quoted
from slipway.rehearse.seeding.rows import Plan, reason

PAGE = 20
# Rows of each table that are read and updated, new ones that are made at once, and where the
# numbers of these may begin: behind those of the rows that are there, however they came to be.
ROWS = 200
SUPPLY = 1000
BEGINNINGS = (1_000_000, 1_000_000_000)


@dataclass(frozen=True)
class SentStatement:
    """SQL with parameters that are text, cast to the types that the service knows."""

    sql: str
    parameters: tuple[str | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Script:
    """The statements of a table: rows that are there by their place, new ones by their number."""

    table: CatalogTable
    columns: tuple[CatalogColumn, ...]
    key: tuple[CatalogColumn, ...]
    rows: Sequence[Mapping[str, str | None]]
    inserted: tuple[CatalogColumn, ...] = ()

    def read(self, place: int) -> SentStatement:
        where, parameters = self._where(place, 0)
        return SentStatement(f"{self._select} WHERE {where}", parameters)

    def page(self) -> SentStatement:
        order = ", ".join(quoted(column.name) for column in self.key)
        return SentStatement(f"{self._select}{f' ORDER BY {order}' if order else ''} LIMIT {PAGE}")

    def update(self, place: int) -> SentStatement:
        """Write what the row has: whatever its checks and keys are, it stays valid."""
        columns = self.updated
        where, parameters = self._where(place, len(columns))
        changes = ", ".join(
            f"{quoted(column.name)} = {_parameter(column, number)}"
            for number, column in enumerate(columns, 1)
        )
        values = tuple(self.rows[place % len(self.rows)][column.name] for column in columns)
        return SentStatement(
            f"UPDATE {self.table.sql} SET {changes} WHERE {where}",
            (*values, *parameters),
        )

    def insert(self, values: tuple[str | None, ...]) -> SentStatement:
        names = ", ".join(quoted(column.name) for column in self.inserted)
        parameters = ", ".join(_parameter(c, number) for number, c in enumerate(self.inserted, 1))
        filled = [column for column in self.columns if column not in self.inserted] or self.key
        returned = ", ".join(quoted(column.name) for column in filled)
        what = f"({names}) VALUES ({parameters})" if names else "DEFAULT VALUES"
        returning = f" RETURNING {returned}" if returned else ""
        return SentStatement(f"INSERT INTO {self.table.sql} {what}{returning}", values)

    @property
    def updated(self) -> tuple[CatalogColumn, ...]:
        return tuple(
            column
            for column in self.columns
            if column not in self.key and not column.generated and column.identity != "ALWAYS"
        )

    @property
    def _select(self) -> str:
        names = ", ".join(quoted(column.name) for column in self.columns)
        return f"SELECT {names} FROM {self.table.sql}"

    def _where(self, place: int, before: int) -> tuple[str, tuple[str | None, ...]]:
        row = self.rows[place % len(self.rows)]
        condition = " AND ".join(
            f"{quoted(column.name)} = {_parameter(column, number)}"
            for number, column in enumerate(self.key, before + 1)
        )
        return condition, tuple(row[column.name] for column in self.key)


def _parameter(column: CatalogColumn, number: int) -> str:
    """Of the column's type, as SQLAlchemy has it, and sent as text, so that any type can be."""
    return f"CAST(CAST(${number} AS text) AS {column.type.sql})"


async def read_script(
    connection: AsyncConnection, table: CatalogTable, names: Collection[str]
) -> Script | None:
    """Read what can be sent to a table of which only these columns may be touched.

    Returns:
        None where the table has none of them.
    """
    columns = tuple(column for column in table.columns if column.name in names)
    if not columns:
        return None
    key = table.primary_key if set(table.primary_key) <= set(names) else ()
    texts = ", ".join(f"{quoted(column.name)}::text" for column in columns)
    rows = await connection.exec_driver_sql(f"SELECT {texts} FROM {table.own} LIMIT {ROWS}")
    return Script(
        table=table,
        columns=columns,
        key=tuple(table.by_name[name] for name in key),
        rows=[dict(zip((c.name for c in columns), row, strict=True)) for row in rows],
    )


# ---- New rows


@dataclass
class Supply:
    """New rows for a table, made by the server on a connection that is no part of the traffic.

    One that is `complete` has no more than it has: keys allow only so many.
    """

    plan: Plan
    columns: tuple[CatalogColumn, ...]
    next: int
    complete: bool = False
    waiting: list[tuple[str | None, ...]] = field(default_factory=list)

    async def fetch(self, connection: AsyncConnection, size: int) -> None:
        names = [column.name for column in self.columns]
        query = self.plan.select(names, self.next, self.next + size - 1, text=True)
        rows = (await connection.exec_driver_sql(query)).all() if names else [()] * size
        self.waiting = [tuple(row) for row in reversed(rows)] + self.waiting
        self.next += size


async def find_supply(connection: AsyncConnection, script: Script, plan: Plan) -> Supply | str:
    """Find new rows that the table takes, by trying; return the reason where there are none.

    As the ORM does, columns that the server fills are left to it, unless rows are valid only with
    them.
    """
    left_out = [column for column in script.table.columns if column not in script.columns]
    if needed := [c.name for c in left_out if not c.nullable and not c.is_filled_by_server]:
        return f"it needs {', '.join(needed)}"
    if not plan.sources:
        return plan.problem
    usable = [column for column in script.columns if column.name in plan.columns]
    problems = []
    for columns, first, size in product(
        (
            tuple(column for column in usable if not column.is_filled_by_server),
            tuple(column for column in usable if column.identity != "ALWAYS"),
        ),
        (plan.rows + 1, *BEGINNINGS),
        (SUPPLY, SUPPLY // 10, SUPPLY // 100),
    ):
        supply = Supply(plan, columns, first, complete=size < SUPPLY)
        try:
            async with connection.begin_nested() as attempt:
                await supply.fetch(connection, size)
                await connection.exec_driver_sql(
                    plan.insert([column.name for column in columns], first, first + size - 1)
                )
                await attempt.rollback()
        except DBAPIError as error:
            problems.append(reason(error))
        else:
            return supply
    return problems[0]


# ---- Turns


@dataclass
class Job:
    """Requests to one table in turn; `kinds` that it cannot send now are passed over."""

    script: Script
    kinds: tuple[str, ...]
    supply: Supply | None
    sent: int = 0

    @property
    def title(self) -> str:
        return self.script.table.title

    def next(self, *, last: bool) -> tuple[str, SentStatement] | None:
        """What comes next; one new row is kept for the `last` requests."""
        if not self.kinds:
            return None
        kind = self.kinds[self.sent % len(self.kinds)]
        place = self.sent // len(self.kinds)
        self.sent += 1
        match kind:
            case "read":
                return kind, self.script.read(place)
            case "update":
                return kind, self.script.update(place)
            case "insert" if self.supply and len(self.supply.waiting) > (0 if last else 1):
                row = self.supply.waiting.pop()
                return kind, replace(self.script, inserted=self.supply.columns).insert(row)
            case "page":
                return kind, self.script.page()
        return None


class Control:
    title = ""
    kinds = (CONTROL,)

    def next(self, *, last: bool) -> tuple[str, SentStatement]:
        return CONTROL, SentStatement("SELECT 1")
