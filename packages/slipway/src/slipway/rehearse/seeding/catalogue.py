"""What the tables of a database look like, read from PostgreSQL's own catalogue (15 to 18)."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from sqlalchemy import URL, NullPool
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from slipway.guard.sql.lexer import tokens
from slipway.queries import USER_RELATIONS


@dataclass(frozen=True, kw_only=True)
class CatalogType:
    """A type with what its values are made of.

    `sql` is how it is written, modifiers included; `kind` is `pg_type.typtype`: b(ase),
    c(omposite), d(omain), e(num), r(ange), m(ultirange). `modifier` is the length of strings and
    bits, the dimensions of a vector, `checks` the conditions of a domain. `base` is what a domain
    restricts, an array or a multirange consists of, or the bounds of a range are.
    """

    sql: str
    name: str
    kind: str
    modifier: int | None = None
    precision: int | None = None
    scale: int | None = None
    labels: tuple[str, ...] = ()
    is_array: bool = False
    base: "CatalogType | None" = None
    attributes: tuple["CatalogType", ...] = ()
    checks: tuple[str, ...] = ()

    @property
    def bare(self) -> "CatalogType":
        """The type that a domain restricts, through domains of domains."""
        return self.base.bare if self.kind == "d" and self.base else self


@dataclass(frozen=True, kw_only=True)
class CatalogColumn:
    """`default` is SQL, `identity` ALWAYS or BY DEFAULT, `generated` the expression;
    `sequence` is the one that fills it, as SQL."""

    name: str
    type: CatalogType
    nullable: bool
    default: str | None
    identity: str | None
    generated: str | None
    sequence: str | None

    @property
    def is_filled_by_server(self) -> bool:
        return bool(self.default or self.identity or self.generated)


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    name: str
    columns: tuple[str, ...]
    target: tuple[str, str]
    target_columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unique:
    """A unique index, the one of a constraint or the primary key too.

    `keys` are columns and expressions as SQL; `columns` are all that these and `predicate` mention.
    """

    name: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    predicate: str | None
    nulls_distinct: bool


@dataclass(frozen=True, kw_only=True)
class Check:
    name: str
    columns: tuple[str, ...]
    expression: str


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    name: str
    columns: tuple[str, ...]
    definition: str


@dataclass(frozen=True, kw_only=True)
class CatalogTable:
    """`bounds`, for a partitioned table: what a row of each lowest partition meets, as SQL."""

    schema: str
    name: str
    columns: tuple[CatalogColumn, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    uniques: tuple[Unique, ...]
    checks: tuple[Check, ...]
    exclusions: tuple[Exclusion, ...]
    bounds: tuple[str, ...] | None

    @property
    def key(self) -> tuple[str, str]:
        return self.schema, self.name

    @property
    def title(self) -> str:
        """As people call it: with its schema where that is not `public`."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def own(self) -> str:
        """For FROM: without the rows of tables that inherit from this one."""
        return f"ONLY {self.sql}" if self.bounds is None else self.sql

    @cached_property
    def by_name(self) -> Mapping[str, CatalogColumn]:
        return {column.name: column for column in self.columns}


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def mentioned(expression: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that an expression contains, be it as a column or as something else."""
    words = {token.name for token in tokens(expression)}
    return tuple(name for name in names if name in words)


def with_checks_of(
    later: Iterable[CatalogTable], tables: Iterable[CatalogTable]
) -> tuple[CatalogTable, ...]:
    """The tables, with the checks besides that later ones have of columns of both.

    A project has rows that meet a check by the time it adds it; so should made up ones.
    """
    by_key = {table.key: table for table in later}
    return tuple(
        replace(table, checks=(*table.checks, *_more_checks(by_key[table.key], table)))
        if table.key in by_key
        else table
        for table in tables
    )


def _more_checks(later: CatalogTable, table: CatalogTable) -> Iterator[Check]:
    types = {column.name: column.type.sql for column in table.columns}
    known = {check.expression for check in table.checks}
    for check in later.checks:
        same = all(types.get(name) == later.by_name[name].type.sql for name in check.columns)
        if same and check.expression not in known:
            yield check


async def read_tables(connection: AsyncConnection) -> tuple[CatalogTable, ...]:
    """The ordinary and partitioned tables of all schemas that are not PostgreSQL's.

    A partition is part of its parent. Left out are views, foreign and temporary tables, tables
    of extensions, and `alembic_version`.
    """
    found = {query: await _rows(connection, query) for query in (TABLES, COLUMNS, TYPES)}
    types = _Types(found[TYPES])
    columns = defaultdict(list)
    for row in found[COLUMNS]:
        columns[row["relation"]].append((row["number"], _column(row, types)))
    foreign_keys = _grouped(await _rows(connection, FOREIGN_KEYS))
    indexes = _grouped(await _rows(connection, UNIQUE_INDEXES))
    checks = _grouped(await _rows(connection, CHECKS))
    exclusions = _grouped(await _rows(connection, EXCLUSIONS))
    bounds = _grouped(await _rows(connection, BOUNDS))
    tables = []
    for row in found[TABLES]:
        oid = row["relation"]
        names = {number: column.name for number, column in columns[oid]}
        tables.append(
            CatalogTable(
                schema=row["schema"],
                name=row["name"],
                columns=tuple(column for _, column in columns[oid]),
                primary_key=next(
                    (_named(index["numbers"], names) for index in indexes[oid] if index["primary"]),
                    (),
                ),
                foreign_keys=tuple(
                    ForeignKey(
                        name=key["name"],
                        columns=tuple(key["columns"]),
                        target=(key["target_schema"], key["target_name"]),
                        target_columns=tuple(key["target_columns"]),
                    )
                    for key in foreign_keys[oid]
                ),
                uniques=tuple(_unique(index, names) for index in indexes[oid]),
                checks=tuple(
                    Check(
                        name=check["name"],
                        columns=_named(check["numbers"] or (), names),
                        expression=check["expression"],
                    )
                    for check in checks[oid]
                ),
                exclusions=tuple(
                    Exclusion(
                        name=exclusion["name"],
                        columns=mentioned(exclusion["definition"], names.values()),
                        definition=exclusion["definition"],
                    )
                    for exclusion in exclusions[oid]
                ),
                bounds=tuple(part["bound"] or "true" for part in bounds[oid])
                if row["partitioned"]
                else None,
            )
        )
    return tuple(tables)


async def read_tables_at(url: URL) -> tuple[CatalogTable, ...]:
    """Those of the database at this URL."""
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.connect() as connection:
        tables = await read_tables(connection)
    await engine.dispose()
    return tables


async def _rows(connection: AsyncConnection, query: str) -> Sequence[Mapping[str, Any]]:
    found = await connection.exec_driver_sql(query)
    return cast(Sequence[Mapping[str, Any]], found.mappings().all())


def _grouped(rows: Iterable[Mapping[str, Any]]) -> Mapping[int, list[Mapping[str, Any]]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row["relation"]].append(row)
    return groups


def _named(numbers: Iterable[int], names: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(names[number] for number in numbers if number in names)


def _unique(index: Mapping[str, Any], names: Mapping[int, str]) -> Unique:
    keys = tuple(index["keys"])
    expressions = " , ".join((*keys, index["predicate"] or ""))
    return Unique(
        name=index["name"],
        keys=keys,
        columns=mentioned(expressions, names.values()),
        predicate=index["predicate"],
        nulls_distinct=index["nulls_distinct"],
    )


def _column(row: Mapping[str, Any], types: "_Types") -> CatalogColumn:
    return CatalogColumn(
        name=row["name"],
        type=types.resolve(row["type"], row["modifier"], row["sql"]),
        nullable=not row["required"] and not types.is_required(row["type"]),
        default=None if row["generated"] else row["expression"],
        identity={"a": "ALWAYS", "d": "BY DEFAULT"}.get(row["identity"]),
        generated=row["expression"] if row["generated"] else None,
        sequence=row["sequence"],
    )


class _Types:
    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = {row["oid"]: row for row in rows}

    def is_required(self, oid: int) -> bool:
        """Whether a domain, or one that it is made of, refuses NULL."""
        row = self.rows[oid]
        return row["kind"] == "d" and (row["required"] or self.is_required(row["base"]))

    def resolve(self, oid: int, modifier: int, sql: str) -> CatalogType:
        row = self.rows[oid]
        base: CatalogType | None
        if row["kind"] == "d":
            base = self.resolve(row["base"], row["base_modifier"], row["base_sql"])
        elif row["is_array"]:
            base = self.resolve(row["base"], modifier, sql.removesuffix("[]"))
        else:
            base = self._plain(row["base"]) if row["base"] else None
        length, precision, scale = _modifiers(row["name"], modifier)
        return CatalogType(
            sql=sql,
            name=row["name"],
            kind=row["kind"],
            modifier=length,
            precision=precision,
            scale=scale,
            labels=tuple(row["labels"] or ()),
            is_array=row["is_array"],
            base=base,
            checks=(*(row["checks"] or ()), *(base.checks if base else ())),
            attributes=tuple(
                self.resolve(part["type"], part["modifier"], part["sql"])
                for part in json.loads(row["attributes"] or "[]")
            ),
        )

    def _plain(self, oid: int) -> CatalogType:
        return self.resolve(oid, -1, self.rows[oid]["sql"])


def _modifiers(name: str, modifier: int) -> tuple[int | None, int | None, int | None]:
    """Length, precision and scale of what PostgreSQL packs into one number.

    Source: `anychar_typmodin`, `make_numeric_typmod` and their kind in its code; four bytes of a
    header are counted in those of strings and numerics.
    """
    if modifier < 0:
        return None, None, None
    if name in ("varchar", "bpchar"):
        return modifier - 4, None, None
    if name == "numeric":
        packed = modifier - 4
        return None, packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024
    return modifier, None, None


USER_TABLES = f"""
    c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND {USER_RELATIONS}
"""
TABLES = f"""
SELECT c.oid AS relation, n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS partitioned
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {USER_TABLES} ORDER BY n.nspname, c.relname
"""
COLUMNS = f"""
SELECT
    c.oid AS relation, a.attnum AS number, a.attname AS name, a.attnotnull AS required,
    a.atttypid AS type, a.atttypmod AS modifier, format_type(a.atttypid, a.atttypmod) AS sql,
    a.attidentity::text AS identity, a.attgenerated <> '' AS generated,
    pg_get_expr(d.adbin, d.adrelid) AS expression,
    (
        SELECT s.oid::regclass::text FROM pg_depend p JOIN pg_class s ON s.relkind = 'S'
        WHERE (p.classid, p.objid, p.refclassid, p.refobjid)
            = ('pg_attrdef'::regclass, d.oid, 'pg_class'::regclass, s.oid)
        OR (p.refclassid, p.refobjid, p.refobjsubid, p.classid, p.objid, p.deptype)
            = ('pg_class'::regclass, c.oid, a.attnum, 'pg_class'::regclass, s.oid, 'i')
        LIMIT 1
    ) AS sequence
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND {USER_TABLES}
ORDER BY c.oid, a.attnum
"""
TYPES = """
SELECT
    t.oid, t.typname AS name, t.typtype::text AS kind, t.typnotnull AS required,
    t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem <> 0 AS is_array,
    format_type(t.oid, NULL) AS sql,
    CASE t.typtype
        WHEN 'd' THEN t.typbasetype
        WHEN 'r' THEN (SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid)
        WHEN 'm' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = t.oid)
        WHEN 'b' THEN CASE t.typcategory WHEN 'A' THEN t.typelem END
    END AS base,
    t.typtypmod AS base_modifier, format_type(t.typbasetype, t.typtypmod) AS base_sql,
    (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
        AS labels,
    (SELECT array_agg(pg_get_constraintdef(c.oid)) FROM pg_constraint c
        WHERE c.contypid = t.oid AND c.contype = 'c') AS checks,
    CASE t.typtype WHEN 'c' THEN (
        SELECT json_agg(json_build_object(
            'type', atttypid::bigint, 'modifier', atttypmod,
            'sql', format_type(atttypid, atttypmod)
        ) ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
    ) END::text AS attributes
FROM pg_type t
"""
FOREIGN_KEYS = f"""
SELECT
    c.oid AS relation, relation.conname AS name, tn.nspname AS target_schema,
    tc.relname AS target_name,
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(relation.conkey)
        WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute ON attrelid = relation.conrelid AND attnum = k.number) AS columns,
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(relation.confkey)
        WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute ON attrelid = relation.confrelid AND attnum = k.number) AS target_columns
FROM pg_constraint relation
JOIN pg_class tc ON tc.oid = relation.confrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace
JOIN pg_class c ON c.oid = relation.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relation.contype = 'f' AND relation.conparentid = 0 AND {USER_TABLES}
ORDER BY relation.conname
"""
UNIQUE_INDEXES = f"""
SELECT
    c.oid AS relation, i.relname AS name, relation.indisprimary AS primary,
    (relation.indkey::smallint[])[0:relation.indnkeyatts - 1] AS numbers,
    ARRAY(SELECT pg_get_indexdef(i.oid, place, true) FROM generate_series(1, indnkeyatts) place)
        AS keys,
    pg_get_expr(relation.indpred, relation.indrelid) AS predicate,
    NOT relation.indnullsnotdistinct AS nulls_distinct
FROM pg_index relation JOIN pg_class i ON i.oid = relation.indexrelid
JOIN pg_class c ON c.oid = relation.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relation.indisunique AND {USER_TABLES} ORDER BY i.relname
"""
CHECKS = f"""
SELECT
    c.oid AS relation, relation.conname AS name, relation.conkey AS numbers,
    pg_get_expr(relation.conbin, relation.conrelid) AS expression
FROM pg_constraint relation
JOIN pg_class c ON c.oid = relation.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relation.contype = 'c' AND {USER_TABLES} ORDER BY relation.conname
"""
EXCLUSIONS = f"""
SELECT c.oid AS relation, relation.conname AS name, pg_get_constraintdef(relation.oid) AS definition
FROM pg_constraint relation
JOIN pg_class c ON c.oid = relation.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relation.contype = 'x' AND {USER_TABLES} ORDER BY relation.conname
"""
BOUNDS = f"""
SELECT c.oid AS relation, pg_get_partition_constraintdef(part.relid) AS bound
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_partition_tree(c.oid) part
WHERE {USER_TABLES} AND c.relkind = 'p' AND part.isleaf AND part.relid <> c.oid
ORDER BY part.relid::regclass::text
"""
