"""Queries of PostgreSQL's catalogue that several commands share, so that all mean the same.

They have no parameters and no `%`, so every driver takes them as they are.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, text

# Where backfills note their progress: beside Alembic's version table, and like that not in models.
BACKFILL_PROGRESS = "backfill_progress"

# A condition on `pg_class AS c` and `pg_namespace AS n`: neither PostgreSQL's own, nor an
# extension's, nor bookkeeping of migrations. Alembic's version table may have any name and schema
# (`version_table`, `version_table_schema`); it is a table with the one column `version_num`.
USER_RELATIONS = f"""
    n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND c.relname <> '{BACKFILL_PROGRESS}'
    AND NOT (c.relkind = 'r' AND '{{version_num}}' = ARRAY(
        SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
    ))
    AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'
    )
"""  # noqa: S608  a constant

# An index that is being built at this moment is not valid either, and not left over.
INVALID_INDEXES = """
SELECT i.relname AS name, indexrelid::regclass::text AS index, indrelid::regclass::text AS table
FROM pg_index
JOIN pg_class AS i ON i.oid = indexrelid JOIN pg_namespace AS n ON n.oid = i.relnamespace
WHERE NOT indisvalid
AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = indexrelid)
ORDER BY n.nspname, i.relname
"""


@dataclass(frozen=True)
class InvalidIndex:
    """An index that a failed build left: PostgreSQL maintains it and never uses it.

    Attributes:
        name: its name alone.
        index: its name as SQL needs it, quoted and with its schema where that is necessary.
        table: the name of its table as SQL needs it.
    """

    name: str
    index: str
    table: str


def invalid_indexes(connection: Connection) -> list[InvalidIndex]:
    """Find the indexes that failed builds have left, ordered by schema and name."""
    return [InvalidIndex(*row) for row in connection.execute(text(INVALID_INDEXES))]
