"""Puts synthetic rows into the tables of a database, each valid, each following from its number.

Row number n refers to row number n of the tables that it points to, so that keys made of several
others agree wherever they meet, and a row of a table that points to itself has its parent before
it. Beyond the first pass over a target the references move on, so that pairs of them are new.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from slipway.errors import message_of, sqlstate
from slipway.rehearse.seeding.candidates import NOTHING, candidates, mentioned_in
from slipway.rehearse.seeding.catalogue import (
    CatalogColumn,
    CatalogTable,
    Check,
    ForeignKey,
    Unique,
    mentioned,
    quoted,
)
from slipway.rehearse.seeding.solver import (
    Option,
    UnsatisfiedError,
    ValueSource,
    index,
    inputs,
    solve,
)
from slipway.rehearse.seeding.values import GUESSES, Values, cast, constants, literal

ADVICE = "give rows with --seed FILE"
# Rows of a table that was not filled here which others may point to: enough to spread them, and
# prime, so that passes over several such tables do not fall into step.
SAMPLE = 997

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What a table has now: so many rows, put there or `kept` from before.

    `problem` says why a table stayed empty, or why it got fewer rows than asked for.
    """

    table: CatalogTable
    rows: int
    kept: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the rows of a table follow from their numbers, `rows` of them at most."""

    table: CatalogTable
    sources: tuple[ValueSource, ...]
    rows: int
    problem: str = ""
    # For columns that must not repeat together: the size of the first of them, and after how many
    # rows the next has to move on.
    strides: Mapping[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)

    def value(self, column: str, number: str) -> str:
        """SQL for a column in the row of a number that is SQL itself."""
        for source in self.sources:
            if column in source.columns:
                at = self._index(source, number)
                sql = source.chosen.at(at)[source.columns.index(column)]
                return cast(sql, self.table.by_name[column].type)
        raise KeyError(column)

    def _index(self, source: ValueSource, number: str) -> str:
        distinct = source.chosen.distinct
        if distinct is None or source.columns not in self.strides:
            return index(number, distinct)
        lead, stride = self.strides[source.columns]
        return f"(((({number}) - 1) % {lead} + (({number}) - 1) / {stride}) % {distinct} + 1)"

    @property
    def columns(self) -> list[str]:
        """Those that have values, in the order of the table."""
        known = {name for source in self.sources for name in source.columns}
        return [column.name for column in self.table.columns if column.name in known]

    def select(self, columns: Iterable[str], first: int, last: int, *, text: bool = False) -> str:
        """A query for the rows of these numbers, each value as its type or as text."""
        values = [self.value(column, "number.n") for column in columns]
        chosen = ", ".join(f"CAST({sql} AS text)" if text else sql for sql in values)
        return f"SELECT {chosen} FROM generate_series({first}::bigint, {last}) AS number(n)"

    def insert(self, columns: Sequence[str], first: int, last: int) -> str:
        names = ", ".join(map(quoted, columns))
        into = f"{self.table.sql} ({names}) OVERRIDING SYSTEM VALUE" if names else self.table.sql
        return f"INSERT INTO {into} {self.select(columns, first, last)}"


async def fill(
    connection: AsyncConnection, tables: Sequence[CatalogTable], count: int
) -> tuple[Filled, ...]:
    """Put `count` rows into each table that is empty, within the connection's transaction.

    Others keep what they have. Fewer rows fit where a key allows no more: one for a table whose
    key is always true. What could not be filled is reported, never raised.

    Sequences stand behind the rows afterwards, and the planner knows of these.
    """
    planner = Planner(connection, tables, count)
    filled: list[Filled] = []
    for group in in_order(tables):
        kept = [table for table in group if not await _is_empty(connection, table)]
        for table in kept:
            await planner.keep(table)
            filled.append(Filled(table=table, rows=await _size(connection, table), kept=True))
        empty = [table for table in group if table not in kept]
        plans = [plan for plan in await planner.plan(empty) if plan.rows]
        if problem := await _insert(connection, plans):
            plans = [planner.give_up(plan, problem) for plan in plans]
        filled += [
            Filled(table=table, rows=plan.rows, problem=plan.problem)
            for table in empty
            for plan in [planner.plans[table.key]]
        ]
    for table in tables:
        await _move_sequences(connection, table)
        await connection.exec_driver_sql(f"ANALYZE {table.sql}")
    return tuple(filled)


def in_order(tables: Sequence[CatalogTable]) -> list[list[CatalogTable]]:
    """Tables behind those that they point to; those that point to each other in one group."""
    by_key = {table.key: table for table in tables}
    reached = {table.key: _reached(table, by_key) for table in tables}
    groups: dict[frozenset[Key], list[CatalogTable]] = {}
    for table in tables:
        circle = {key for key in reached[table.key] if table.key in reached[key]} | {table.key}
        groups.setdefault(frozenset(circle), []).append(table)
    return sorted(groups.values(), key=lambda group: len(reached[group[0].key] | {group[0].key}))


def _reached(table: CatalogTable, by_key: Mapping[Key, CatalogTable]) -> set[Key]:
    found: set[Key] = set()
    open_ = [table]
    while open_:
        for key in open_.pop().foreign_keys:
            if key.target in by_key and key.target not in found:
                found.add(key.target)
                open_.append(by_key[key.target])
    return found


class Planner:
    """Plans the rows of tables, one group after the other, as `in_order` has them."""

    def __init__(
        self, connection: AsyncConnection, tables: Sequence[CatalogTable], count: int
    ) -> None:
        self.connection = connection
        self.count = count
        self.tables = {table.key: table for table in tables}
        self.plans: dict[Key, Plan] = {}
        self.samples: dict[tuple[Key, tuple[str, ...]], tuple[Values, ...]] = {}

    async def keep(self, table: CatalogTable) -> None:
        """Take the rows of a table as they are: others point to a sample of them."""
        self.plans[table.key] = Plan(table=table, sources=(), rows=0)
        targets = {
            key.target_columns
            for other in self.tables.values()
            for key in other.foreign_keys
            if key.target == table.key
        }
        for columns in targets:
            texts = ", ".join(f"{quoted(column)}::text" for column in columns)
            there = " AND ".join(f"{quoted(column)} IS NOT NULL" for column in columns)
            rows = await self.connection.exec_driver_sql(
                f"SELECT {texts} FROM {table.own} WHERE {there} LIMIT {SAMPLE}"
            )
            parts = list(zip(*rows.all(), strict=True))
            self.samples[table.key, columns] = tuple(constants(part) for part in parts)

    async def plan(self, tables: Sequence[CatalogTable]) -> list[Plan]:
        """Plan all rows of tables that may point to each other."""
        for table in tables:
            self.plans[table.key] = Plan(table=table, sources=(), rows=self.count)
        # Those of a circle point to each other before it is known what their checks allow.
        for table in tables:
            with suppress(UnsatisfiedError):
                sources = tuple(self._sources(table, _conditions(table)))
                self.plans[table.key] = replace(self.plans[table.key], sources=sources)
        for table in tables:
            self.plans[table.key] = await self._plan(table)
        return [self.plans[table.key] for table in tables]

    async def plan_more(self, table: CatalogTable) -> Plan:
        """Plan further rows of a table that is kept as it is; its numbers go on behind its size."""
        kept, self.count = self.plans[table.key], await _size(self.connection, table)
        [plan] = await self.plan([table])
        self.plans[table.key] = kept
        return plan

    def give_up(self, plan: Plan, problem: str) -> Plan:
        key = plan.table.key
        self.plans[key] = replace(plan, rows=0, problem=_problem(plan.table, problem))
        return self.plans[key]

    async def _plan(self, table: CatalogTable) -> Plan:
        try:
            async with self.connection.begin_nested():
                return await self._fitting(table)
        except UnsatisfiedError as error:
            problem = str(error)
        except DBAPIError as error:
            problem = reason(error)
        except RecursionError:
            problem = "its foreign keys lead back to themselves"
        return Plan(table=table, sources=(), rows=0, problem=_problem(table, problem))

    async def _fitting(self, table: CatalogTable) -> Plan:
        """A plan of as many rows as its uniques allow."""
        plan = await self._solve(table, [])
        if limit := await self._limit(plan):
            plan = replace(plan, rows=limit[0], problem=_shortage(plan, *limit))
            plan = await self._without_partial_uniques(plan)
        return plan

    async def _without_partial_uniques(self, plan: Plan) -> Plan:
        """The same for rows that partial unique indexes leave out, if more fit then."""
        conditions = [
            Check(
                name=unique.name,
                columns=mentioned(unique.predicate, plan.table.by_name),
                expression=f"({unique.predicate}) IS NOT TRUE",
            )
            for unique in plan.table.uniques
            if unique.predicate
        ]
        if not conditions:
            return plan
        try:
            other = await self._solve(plan.table, conditions)
        except UnsatisfiedError:
            return plan
        limit = await self._limit(other)
        if limit:
            other = replace(other, rows=limit[0], problem=_shortage(other, *limit))
        return max(plan, other, key=lambda plan: plan.rows)

    async def _solve(self, table: CatalogTable, more: Sequence[Check]) -> Plan:
        conditions = [*_conditions(table), *more]
        sources = self._sources(table, conditions)
        plan = Plan(table=table, sources=tuple(sources), rows=self.count)
        self.plans[table.key] = plan
        if not await self._can_be_cast(table, sources):
            sources = [await self._sound(table, source) for source in sources]
            plan = replace(plan, sources=tuple(sources))
            self.plans[table.key] = plan
        unique = {name for u in table.uniques for name in inputs(table, u.columns)}
        solved = await solve(self.connection, table, sources, conditions, self.count, unique)
        plan = replace(plan, sources=tuple(solved))
        plan = replace(plan, strides=_strides(plan))
        self.plans[table.key] = plan
        return plan

    def _sources(self, table: CatalogTable, conditions: Sequence[Check]) -> list[ValueSource]:
        sources: list[ValueSource] = []
        taken: set[str] = set()
        for key in _largest_first(table):
            free = tuple(
                name
                for name in key.columns
                if name not in taken and not self._leads_back(table, key, name)
            )
            options = self._references(table, key, free) if free else ()
            if options:
                # Without a row to point to, one NULL is enough: others are of other keys.
                filled = _nullable(table, free) if options[0].is_null else free
                sources.append(ValueSource(filled, tuple(options)))
                taken |= set(filled)
        for column in table.columns:
            if column.name not in taken and not column.generated:
                about = [c.expression for c in conditions if _is_about(table, c, column)]
                mentions = mentioned_in((*about, *column.type.checks))
                default = None if column.sequence else column.default
                found = candidates(column.type, column.nullable, default, mentions)
                sources.append(ValueSource((column.name,), tuple(map(_option, found))))
        return sources

    def _leads_back(self, table: CatalogTable, key: ForeignKey, column: str) -> bool:
        """Whether this column is where a circle of columns that equal each other begins."""
        start = (table.key, column)
        seen = [start]
        while True:
            target = (key.target, key.target_columns[key.columns.index(seen[-1][1])])
            if target in seen:
                return target == start == min(seen)
            seen.append(target)
            keys = _largest_first(self.tables[target[0]]) if target[0] in self.tables else []
            following = next((k for k in keys if target[1] in k.columns), None)
            if following is None:
                return False
            key = following

    def _references(
        self, table: CatalogTable, key: ForeignKey, free: tuple[str, ...]
    ) -> tuple[Option, ...]:
        """Ways to point to a row of the target: the one of the same number, others, none."""
        if key.target not in self.tables:
            raise UnsatisfiedError(f"foreign key {key.name} points to a table that is left out")
        places = [key.columns.index(name) for name in free]
        sample = self.samples.get((key.target, key.target_columns))
        target = self.plans[key.target]
        rows = (sample[0].distinct or 0) if sample else target.rows
        nullable = _nullable(table, free)

        def target_at(i: str) -> tuple[str, ...]:
            if sample:
                return tuple(sample[place].at(i) for place in places)
            plan = self.plans[key.target]
            return tuple(plan.value(key.target_columns[place], i) for place in places)

        def next_at(i: str, by: int) -> tuple[str, ...]:
            return target_at(f"((({i}) - 1 + {by}) % {rows} + 1)")

        def none_at(i: str) -> tuple[str, ...]:
            there = target_at(i) if len(nullable) < len(free) else ("",) * len(free)
            return tuple(
                "NULL" if name in nullable else sql for name, sql in zip(free, there, strict=True)
            )

        if not rows:
            if not nullable:
                raise UnsatisfiedError(f"it needs a row of {target.table.title}")
            return (Option(lambda _: ("NULL",) * len(nullable), 1, is_null=True),)
        options = [Option(target_at, rows)]
        if key.target == table.key and not sample and nullable == key.columns:
            parent = _parent(table, key)
            options.insert(0, Option(lambda i: _unless_first(i, target_at(parent(i))), rows))
        options += [Option(partial(next_at, by=by), rows) for by in range(1, min(rows, 3))]
        if nullable:
            distinct = 1 if nullable == free else rows
            options.append(Option(none_at, distinct, is_null=True))
        return tuple(options)

    async def _sound(self, table: CatalogTable, source: ValueSource) -> ValueSource:
        """A source whose values are of their type; where it is not known, text forms are tried.

        Raises:
            UnsatisfiedError: nothing that is tried is of the type.
        """
        if await self._can_be_cast(table, [source]):
            return source
        for text in GUESSES:
            tried = replace(source, options=(_option(constants([text])), *source.options[1:]))
            if await self._can_be_cast(table, [tried]):
                return tried
        if source.options[-1].is_null:
            return replace(source, options=(source.options[-1],))
        [column] = [table.by_name[name] for name in source.columns]
        raise UnsatisfiedError(f"nothing is known of the type {column.type.sql} of {column.name}")

    async def _can_be_cast(self, table: CatalogTable, sources: Iterable[ValueSource]) -> bool:
        """Whether first values are of their types; what domains want beyond that comes later."""
        values = [
            cast(sql, table.by_name[name].type.bare)
            for source in sources
            for name, sql in zip(source.columns, source.chosen.at("1"), strict=True)
        ]
        try:
            async with self.connection.begin_nested():
                await self.connection.exec_driver_sql(f"SELECT {', '.join(values)}")
        except DBAPIError:
            return False
        return True

    async def _limit(self, plan: Plan) -> tuple[int, str] | None:
        """How many rows fit, and the unique index that allows no more."""
        found = []
        for unique in plan.table.uniques:
            if not _is_endless(plan, unique):
                first = await _scalar(self.connection, _repetition(plan, unique))
                if first is not None:
                    found.append((first - 1, unique.name))
        return min(found, default=None)


def _conditions(table: CatalogTable) -> list[Check]:
    if table.bounds is None:
        return list(table.checks)
    if not table.bounds:
        raise UnsatisfiedError("it has no partition")
    bounds = " OR ".join(f"({bound})" for bound in table.bounds)
    columns = mentioned(bounds, table.by_name)
    return [
        *table.checks,
        Check(name="that it falls into a partition", columns=columns, expression=bounds),
    ]


def _is_about(table: CatalogTable, condition: Check, column: CatalogColumn) -> bool:
    return column.name in inputs(table, condition.columns)


def _largest_first(table: CatalogTable) -> list[ForeignKey]:
    return sorted(table.foreign_keys, key=lambda key: -len(key.columns))


def _nullable(table: CatalogTable, columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in columns if table.by_name[name].nullable)


def _parent(table: CatalogTable, key: ForeignKey) -> Callable[[str], str]:
    """A row before that of a number: the root of a tree, or the one before where each may have
    one child only."""
    is_unique = any(set(unique.columns) <= set(key.columns) for unique in table.uniques)
    return lambda i: f"(({i}) - 1)" if is_unique else f"(({i}) / 2)"


def _unless_first(i: str, values: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"CASE WHEN ({i}) > 1 THEN {sql} END" for sql in values)


def _option(values: Values) -> Option:
    return Option(lambda i: (values.at(i),), values.distinct, is_null=values is NOTHING)


def _key_sources(plan: Plan, unique: Unique) -> list[ValueSource]:
    """Of the columns that are keys of a unique index as they are, without an expression."""
    return [
        source
        for source in plan.sources
        if any(quoted(name) in unique.keys or name in unique.keys for name in source.columns)
    ]


def _is_endless(plan: Plan, unique: Unique) -> bool:
    return any(source.chosen.is_endless for source in _key_sources(plan, unique))


def _strides(plan: Plan) -> dict[tuple[str, ...], tuple[int, int]]:
    """Where columns repeat that must not do so together: count up like the digits of a number."""
    strides: dict[tuple[str, ...], tuple[int, int]] = {}
    for unique in plan.table.uniques:
        if _is_endless(plan, unique):
            continue
        digits = [
            (source.chosen.distinct, source.columns)
            for source in _key_sources(plan, unique)
            if source.chosen.distinct
        ]
        digits.sort(key=lambda digit: -digit[0])
        for place in range(1, len(digits)):
            lead, stride = digits[0][0], prod(distinct for distinct, _ in digits[:place])
            strides.setdefault(digits[place][1], (lead, stride))
    return strides


def _repetition(plan: Plan, unique: Unique) -> str:
    """A query for the number of the first row that repeats a key."""
    table = plan.table
    values = ", ".join(f"{plan.value(name, 'number.n')} AS {quoted(name)}" for name in plan.columns)
    generated = "".join(
        f", CAST({column.generated} AS {column.type.sql}) AS {quoted(column.name)}"
        for column in table.columns
        if column.generated and column.name in unique.columns
    )
    counts = unique.predicate or "true"
    if unique.nulls_distinct:
        counts = " AND ".join([f"({counts})", *(f"({key}) IS NOT NULL" for key in unique.keys)])
    return (
        f'SELECT min("#n") FROM (SELECT "#n", row_number() OVER'
        f' (PARTITION BY {", ".join(unique.keys)} ORDER BY "#n") AS "#place"'
        f' FROM (SELECT *{generated} FROM (SELECT number.n AS "#n", {values}'
        f" FROM generate_series(1::bigint, {plan.rows}) AS number(n)) AS plain) AS whole"
        f' WHERE {counts}) AS counted WHERE "#place" > 1'
    )


async def _scalar(connection: AsyncConnection, query: str) -> Any:
    return (await connection.exec_driver_sql(query)).scalar()


async def _is_empty(connection: AsyncConnection, table: CatalogTable) -> bool:
    return bool(await _scalar(connection, f"SELECT NOT EXISTS (SELECT FROM {table.own})"))


async def _size(connection: AsyncConnection, table: CatalogTable) -> int:
    return int(await _scalar(connection, f"SELECT count(*) FROM {table.own}"))


async def _insert(connection: AsyncConnection, plans: Sequence[Plan]) -> str:
    """Fill tables that may point to each other; returns why that failed.

    In one statement: PostgreSQL checks foreign keys at its end.
    """
    if not plans:
        return ""
    inserts = [plan.insert(plan.columns, 1, plan.rows) for plan in plans]
    *first, last = inserts
    parts = ", ".join(f"part{place} AS ({insert})" for place, insert in enumerate(first))
    try:
        async with connection.begin_nested():
            await connection.exec_driver_sql("SET LOCAL jit = off")
            await connection.exec_driver_sql(f"WITH {parts} {last}" if parts else last)
    except DBAPIError as error:
        return reason(error)
    return ""


async def _move_sequences(connection: AsyncConnection, table: CatalogTable) -> None:
    """Let the sequences of a table go on behind its highest values."""
    for column in table.columns:
        if column.sequence and column.type.bare.name in INTEGERS:
            await connection.exec_driver_sql(
                "SELECT setval(s.seqrelid, least(greatest(m.highest, s.seqmin), s.seqmax))"
                f" FROM pg_sequence s, (SELECT max({quoted(column.name)}) AS highest"
                f" FROM {table.sql}) m WHERE s.seqrelid = {literal(column.sequence)}::regclass"
                " AND s.seqincrement > 0 AND m.highest IS NOT NULL"
            )


INTEGERS = {"int2", "int4", "int8"}
KINDS = {
    "23502": "column {column_name} must have a value",
    "23503": "foreign key {constraint_name}",
    "23505": "unique {constraint_name}",
    "23514": "check {constraint_name}",
    "23P01": "exclusion constraint {constraint_name}",
}


def reason(error: DBAPIError) -> str:
    """What PostgreSQL refused, by the name of the constraint where it says one."""
    cause: Any = getattr(error.orig, "__cause__", None)
    kind = KINDS.get(sqlstate(error), "")
    names = {name: getattr(cause, name, None) for name in ("column_name", "constraint_name")}
    if kind and any(names[name] and f"{{{name}}}" in kind for name in names):
        return kind.format(**names)
    return message_of(cause or error)


def _problem(table: CatalogTable, text: str) -> str:
    return f"table {table.title} could not be filled: {text}; {ADVICE}"


def _shortage(plan: Plan, rows: int, name: str) -> str:
    some = f"{rows} row" + "s" * (rows != 1)
    return f"table {plan.table.title} has only {some}: unique {name} allows no more; {ADVICE}"
