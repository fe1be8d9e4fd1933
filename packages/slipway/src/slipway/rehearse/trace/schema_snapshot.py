"""The schema of a database in words, and what in it is not as it should be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from slipway.queries import USER_RELATIONS


@dataclass(frozen=True, kw_only=True)
class SchemaSnapshot:
    """`schema` does not depend on the order in which things were made; the others are the names of
    indexes and constraints with their tables: invalid indexes, constraints NOT VALID, and foreign
    keys whose columns no index begins with."""

    schema: frozenset[str] = frozenset()
    invalid: Mapping[str, str] = field(default_factory=dict)
    unvalidated: Mapping[str, str] = field(default_factory=dict)
    unindexed: Mapping[str, str] = field(default_factory=dict)


async def read_schema_snapshot(connection: AsyncConnection) -> SchemaSnapshot:
    """Read the schemas that are not PostgreSQL's; what extensions own is left out."""
    schema = await connection.exec_driver_sql(SCHEMA)
    found: dict[str, dict[str, str]] = {}
    for query in (INVALID, UNVALIDATED, UNINDEXED):
        rows = await connection.exec_driver_sql(query)
        found[query] = {row.name: row.table for row in rows}
    return SchemaSnapshot(
        schema=frozenset(schema.scalars()),
        invalid=found[INVALID],
        unvalidated=found[UNVALIDATED],
        unindexed=found[UNINDEXED],
    )


RELATIONS = f"""
WITH relations AS (
    SELECT c.*, CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END || relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE {USER_RELATIONS}
)
"""
INVALID = f"""
{RELATIONS}
SELECT indexes.relname::text AS name, tables.name AS table FROM pg_index
JOIN relations AS indexes ON indexes.oid = indexrelid
JOIN relations AS tables ON tables.oid = indrelid
WHERE NOT indisvalid AND tables.relkind <> 'p'
"""
UNVALIDATED = f"""
{RELATIONS}
SELECT conname::text AS name, relations.name AS table
FROM pg_constraint JOIN relations ON relations.oid = conrelid
WHERE NOT convalidated
"""
# With fewer columns than the index has, in any order: PostgreSQL finds the rows by it.
UNINDEXED = f"""
{RELATIONS}
SELECT conname::text AS name, relations.name AS table
FROM pg_constraint JOIN relations ON relations.oid = conrelid
WHERE contype = 'f' AND conparentid = 0 AND NOT EXISTS (
    SELECT FROM pg_index
    WHERE indrelid = conrelid AND indisvalid AND indpred IS NULL
    AND (indkey::smallint[])[0:cardinality(conkey) - 1] @> conkey
)
"""
SCHEMA = f"""
{RELATIONS}
, tables AS (SELECT * FROM relations WHERE relkind IN ('r', 'p', 'f', 'm', 'v'))
SELECT format('%s %s %s %s %s', relkind, name, relpersistence, obj_description(oid, 'pg_class'),
              CASE WHEN relkind IN ('m', 'v') THEN pg_get_viewdef(oid) END)
FROM tables
UNION ALL
SELECT format('column %s.%s %s %s %s %s %s %s', name, attname, format_type(atttypid, atttypmod),
              CASE WHEN attnotnull THEN 'NOT NULL' END, pg_get_expr(adbin, adrelid),
              attidentity, attgenerated, col_description(tables.oid, attnum))
FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT format('constraint %s %s %s', name, CASE WHEN contype <> 'n' THEN conname END,
              pg_get_constraintdef(c.oid))
FROM tables JOIN pg_constraint AS c ON conrelid = tables.oid
UNION ALL
SELECT format('index %s %s', pg_get_indexdef(indexrelid), CASE WHEN indisvalid THEN 'valid' END)
FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL
SELECT 'trigger ' || pg_get_triggerdef(t.oid)
FROM tables JOIN pg_trigger AS t ON tgrelid = tables.oid WHERE NOT tgisinternal
UNION ALL
SELECT format('sequence %s %s', name, format_type(seqtypid, NULL))
FROM relations JOIN pg_sequence ON seqrelid = relations.oid
UNION ALL
SELECT format('function %s %s', p.oid::regprocedure, md5(prosrc))
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'
)
UNION ALL
SELECT format('enum %s %s', t.oid::regtype, array_agg(enumlabel ORDER BY enumsortorder))
FROM pg_type AS t JOIN pg_enum ON enumtypid = t.oid GROUP BY t.oid
UNION ALL
SELECT format('domain %s %s', t.oid::regtype, pg_get_constraintdef(c.oid))
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = typnamespace
LEFT JOIN pg_constraint AS c ON contypid = t.oid
WHERE typtype = 'd' AND nspname NOT IN ('information_schema', 'pg_catalog')
"""
