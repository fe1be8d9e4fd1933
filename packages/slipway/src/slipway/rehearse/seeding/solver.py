"""Picks, of the ways to fill the columns of a table, those that its checks allow.

PostgreSQL decides: a temporary function has the columns as its variables and the checks as its
body, so that types, domains and whatever functions a check calls mean what they mean in the table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from slipway.rehearse.seeding.catalogue import CatalogTable, Check, mentioned, quoted

# What is tried at once, how many ways are mixed in the end, and rows at which they start again.
COMBINATIONS = 2000
MIXED = 50
SAMPLED = 30


@dataclass(frozen=True)
class Option:
    """A way to fill columns: SQL for each of them, by an index that starts at 1 and is SQL itself.

    `distinct` is the number of indexes that it takes, None for no end; each gives another value,
    but for one that `repeats`.
    """

    at: Callable[[str], tuple[str, ...]]
    distinct: int | None
    is_null: bool = False
    repeats: bool = False

    @property
    def is_endless(self) -> bool:
        return self.distinct is None and not self.repeats


@dataclass(frozen=True)
class ValueSource:
    """Columns that are filled together; the first option is the chosen one."""

    columns: tuple[str, ...]
    options: tuple[Option, ...]

    @property
    def chosen(self) -> Option:
        return self.options[0]


class UnsatisfiedError(Exception):
    """No option meets these conditions; the message names them."""


def index(number: str, distinct: int | None) -> str:
    """Which of so many values the row of this number has, both as SQL."""
    return f"({number})" if distinct is None else f"((({number}) - 1) % {distinct} + 1)"


def inputs(table: CatalogTable, columns: Iterable[str]) -> set[str]:
    """The columns themselves, and for generated ones those that they are computed from."""
    found = set()
    for name in columns:
        generated = table.by_name[name].generated
        found |= set(mentioned(generated, table.by_name)) if generated else {name}
    return found


async def solve(
    connection: AsyncConnection,
    table: CatalogTable,
    sources: Sequence[ValueSource],
    conditions: Sequence[Check],
    count: int,
    unique: set[str],
) -> list[ValueSource]:
    """The sources with options first that together meet the conditions, in rows up to `count`.

    Columns in `unique` keep as many different values as they can.

    Raises:
        UnsatisfiedError: some condition is met by nothing that is known.
    """
    samples = sorted({n for n in (1, 2, 3, 4, 5, 6, 10, 37, 100, 1000, count // 2) if n <= count})
    samples = sorted({*samples, count, count + 1})
    solver = _Solver(connection, table, samples, count, unique)
    filtered = [
        await solver.filtered(source, [c for c in conditions if _only(table, c, source)])
        for source in sources
    ]
    crossing = [c for c in conditions if not any(_only(table, c, s) for s in sources)]
    for members, over in _components(table, filtered, crossing):
        mixed = await solver.mixed(members, over)
        filtered = [source for source in filtered if source not in members] + mixed
    return filtered


def _only(table: CatalogTable, condition: Check, source: ValueSource) -> bool:
    return inputs(table, condition.columns) <= set(source.columns)


def _components(
    table: CatalogTable, sources: Sequence[ValueSource], conditions: Sequence[Check]
) -> list[tuple[list[ValueSource], list[Check]]]:
    """Conditions that share columns, with the sources of these."""
    components: list[tuple[set[str], list[Check]]] = []
    for condition in conditions:
        needed = inputs(table, condition.columns)
        names = {name for s in sources if needed & set(s.columns) for name in s.columns}
        merged = [condition]
        for other in [c for c in components if c[0] & names]:
            components.remove(other)
            names |= other[0]
            merged = other[1] + merged
        components.append((names, merged))
    return [([s for s in sources if set(s.columns) & names], over) for names, over in components]


@dataclass(frozen=True)
class _Solver:
    connection: AsyncConnection
    table: CatalogTable
    samples: Sequence[int]
    count: int
    unique: set[str]

    async def filtered(self, source: ValueSource, conditions: Sequence[Check]) -> ValueSource:
        """The options that meet the conditions of these columns alone, the most various first."""
        if not conditions and not any(self.table.by_name[c].type.checks for c in source.columns):
            return source
        passing = await self._passing([source], conditions)
        most = len(self._samples([source]))
        full = [o for o, numbers in passing.items() if len(numbers) == most]
        options = [source.options[number] for [number] in full]
        if not options:
            options = self._frozen([source], passing)
        if not options:
            raise UnsatisfiedError(await self._refused([source], conditions))
        endless = [option for option in options if option.is_endless]
        limited = [o for o in options if not o.is_endless and not o.is_null]
        nothing = [option for option in options if option.is_null]
        constant = [[option] for option in limited if option.distinct == 1]
        if constant:
            limited.append(self._mixture(source.columns, constant[:MIXED]))
        limited.sort(key=lambda option: option.distinct or 0, reverse=True)
        return replace(source, options=(*endless, *limited, *nothing))

    async def mixed(
        self, sources: list[ValueSource], conditions: Sequence[Check]
    ) -> list[ValueSource]:
        """Options that meet the conditions together; those that vary become one source."""
        most = max(2, int(COMBINATIONS ** (1 / len(sources))))
        if most ** len(sources) > COMBINATIONS * 2:
            raise UnsatisfiedError(
                f"{len(sources)} columns depend on each other in checks: "
                + ", ".join(condition.name for condition in conditions)
            )
        tried = [replace(source, options=_spread(source.options, most)) for source in sources]
        passing = await self._passing(tried, conditions)
        every = len(self._samples(tried))
        full = [o for o, numbers in passing.items() if len(numbers) == every]
        if not full:
            options = self._frozen(tried, passing)
            if not options:
                raise UnsatisfiedError(await self._refused(tried, conditions))
            mixture = self._mixture(_columns(tried), [[o] for o in options[:MIXED]])
            return [ValueSource(_columns(tried), (mixture,))]
        ranked = sorted(full, key=lambda combination: self._rank(tried, combination))
        best, chosen = ranked[0], [ranked[0]]
        constant = [
            place
            for place, (source, number) in enumerate(zip(tried, best, strict=True))
            if source.options[number].distinct == 1
        ]
        for combination in ranked[1:]:
            brings = any(combination[p] not in {c[p] for c in chosen} for p in constant)
            keeps = all(
                combination[place] == best[place] or not self.unique & set(tried[place].columns)
                for place in range(len(tried))
                if place not in constant
            )
            if brings and keeps and len(chosen) < MIXED:
                chosen.append(combination)
        varying = [p for p in range(len(tried)) if len({c[p] for c in chosen}) > 1]
        fixed = [
            replace(source, options=(source.options[best[place]],))
            for place, source in enumerate(tried)
            if place not in varying
        ]
        if not varying:
            return fixed
        group = [tried[place] for place in varying]
        rows = [[tried[place].options[c[place]] for place in varying] for c in chosen]
        return [*fixed, ValueSource(_columns(group), (self._mixture(_columns(group), rows),))]

    def _rank(self, sources: Sequence[ValueSource], combination: Sequence[int]) -> tuple[int, ...]:
        options = [s.options[number] for s, number in zip(sources, combination, strict=True)]
        repeated = sum(
            not option.is_endless
            for source, option in zip(sources, options, strict=True)
            if self.unique & set(source.columns)
        )
        return (
            repeated,
            sum(option.is_null for option in options),
            sum(not option.is_endless for option in options),
            sum(combination),
        )

    def _mixture(self, columns: tuple[str, ...], rows: Sequence[Sequence[Option]]) -> Option:
        """These rows of options in turn; where the options move on with the number of a row, they
        do so as they did alone, since that is how they were tried."""
        types = [self.table.by_name[name].type.bare.sql for name in columns]
        constant = all(option.distinct == 1 for row in rows for option in row)

        def at(i: str) -> tuple[str, ...]:
            values = [
                [sql for option in row for sql in option.at(index(i, option.distinct))]
                for row in rows
            ]
            return tuple(
                f"CASE (({i}) - 1) % {len(rows)} "
                + " ".join(
                    f"WHEN {place} THEN CAST({row[column]} AS {kind})"
                    for place, row in enumerate(values)
                )
                + " END"
                for column, kind in enumerate(types)
            )

        return Option(at, len(rows) if constant else None, repeats=True)

    def _frozen(
        self, sources: Sequence[ValueSource], passing: Mapping[tuple[int, ...], Sequence[int]]
    ) -> list[Option]:
        """For what is met by some rows only: the values of these."""
        found = []
        for combination, numbers in passing.items():
            options = [s.options[o] for s, o in zip(sources, combination, strict=True)]
            for number in numbers:
                values = tuple(
                    sql
                    for option in options
                    for sql in option.at(index(str(number), option.distinct))
                )
                found.append(Option(lambda _, values=values: values, 1))  # type: ignore[misc]
        return found

    async def _refused(self, sources: Sequence[ValueSource], conditions: Sequence[Check]) -> str:
        """What cannot be met: the conditions that nothing meets even alone, or all together."""
        alone = [c for c in conditions if not await self._passing(sources, [c])]
        domains = [
            f"domain {self.table.by_name[name].type.sql}"
            for source in sources
            for name in source.columns
            if self.table.by_name[name].type.checks
        ]
        return " and ".join([f"check {c.name}" for c in alone or conditions] or domains)

    async def _passing(
        self, sources: Sequence[ValueSource], conditions: Sequence[Check]
    ) -> dict[tuple[int, ...], list[int]]:
        """For each combination of options that some samples pass: the numbers of these."""
        await self._define(_columns(sources), conditions)
        samples = self._samples(sources)
        sound = [await self._sound(source, samples) for source in sources]
        tables = " JOIN ".join(
            f"({self._options_as_table(source, numbers, samples)}) AS s{place}"
            + (" USING (n)" if place else "")
            for place, (source, numbers) in enumerate(zip(sources, sound, strict=True))
        )
        chosen = ", ".join(f"s{place}.o AS o{place}" for place in range(len(sources)))
        values = " || ".join(f"s{place}.v" for place in range(len(sources)))
        found = await self.connection.exec_driver_sql(
            f"SELECT {chosen}, array_agg(n ORDER BY n) FROM {tables}"
            f" WHERE pg_temp.rehearse_holds({values})"
            f" GROUP BY {', '.join(str(place + 1) for place in range(len(sources)))}"
        )
        passing: dict[tuple[int, ...], list[int]] = {
            tuple(row[:-1]): list(row[-1]) for row in found
        }
        every = product(*(range(len(source.options)) for source in sources))
        return {choice: passing[choice] for choice in every if choice in passing}

    async def _sound(self, source: ValueSource, samples: Sequence[int]) -> list[int]:
        """The options that can be computed at all."""
        every = range(len(source.options))
        if await self._can_run(self._options_as_table(source, every, samples)):
            return list(every)
        return [
            number
            for number in every
            if await self._can_run(self._options_as_table(source, [number], samples))
        ]

    async def _can_run(self, query: str) -> bool:
        try:
            async with self.connection.begin_nested():
                await self.connection.exec_driver_sql(query)
        except DBAPIError:
            return False
        return True

    def _samples(self, sources: Sequence[ValueSource]) -> list[int]:
        """Numbers of rows that are tried: some, and those at which options start again."""
        ends = {option.distinct for source in sources for option in source.options}
        around = {end - by for end in ends if end for by in (0, 1) if by < end <= self.count}
        return sorted({*self.samples, *sorted(around)[:SAMPLED]})

    def _options_as_table(
        self, source: ValueSource, numbers: Iterable[int], samples: Sequence[int]
    ) -> str:
        """Of a number of a sample (n), of an option (o), and their values as text (v)."""
        rows = [
            f"({number}, ARRAY[{', '.join(f'CAST({sql} AS text)' for sql in option.at(at))}])"
            for number in numbers
            if (option := source.options[number]) and (at := index("number.n", option.distinct))
        ] or ["(-1, ARRAY[NULL])"]
        return (
            f"SELECT number.n, choice.o, choice.v"
            f" FROM unnest(ARRAY{samples}::bigint[]) AS number(n)"
            f" CROSS JOIN LATERAL (VALUES {', '.join(rows)}) AS choice(o, v)"
        )

    async def _define(self, columns: Sequence[str], conditions: Sequence[Check]) -> None:
        declared = [
            f'{quoted(name)} {self.table.by_name[name].type.sql} := "#"[{place}];'
            for place, name in enumerate(columns, 1)
        ]
        used = {name for condition in conditions for name in condition.columns}
        declared += [
            f"{quoted(column.name)} {column.type.sql} := ({column.generated});"
            for column in self.table.columns
            if column.generated and column.name in used
        ]
        met = " AND ".join(f"coalesce(({c.expression}), true)" for c in conditions) or "true"
        await self.connection.exec_driver_sql(
            'CREATE OR REPLACE FUNCTION pg_temp.rehearse_holds("#" text[]) RETURNS boolean'
            " LANGUAGE plpgsql AS $rehearse$ BEGIN DECLARE "
            + " ".join(declared)
            + f" BEGIN RETURN {met}; END;"
            " EXCEPTION WHEN OTHERS THEN RETURN false; END $rehearse$"
        )


def _columns(sources: Iterable[ValueSource]) -> tuple[str, ...]:
    return tuple(name for source in sources for name in source.columns)


def _spread(options: Sequence[Option], most: int) -> tuple[Option, ...]:
    """The first options, and NULL among them wherever it stood."""
    nothing = [option for option in options if option.is_null]
    others = [option for option in options if not option.is_null]
    return (*others[: most - len(nothing)], *nothing)
