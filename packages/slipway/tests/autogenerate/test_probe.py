"""What PostgreSQL is asked of conditions."""

import pytest
import sqlalchemy as sa

from slipway.autogenerate.dialect import send
from slipway.autogenerate.probe import is_condition

COLUMNS = (
    "n int, m int NOT NULL, price numeric(10, 2), name varchar(20), code char(3), note text,"
    " day date, at timestamptz, span interval, tags text[], data jsonb, flag boolean, id uuid,"
    ' "Größe" float'
)
CONDITIONS = [
    "n > 0",
    "n > -1",
    "n BETWEEN 1 AND 9",
    "n BETWEEN SYMMETRIC 9 AND 1",
    "n IN (1, 2, 3)",
    "n NOT IN (1, 2) OR n IS NULL",
    "n <> 1 + 1",
    "n % 2 = 0",
    "n IS NOT NULL",
    "m IS NOT NULL",
    "num_nonnulls(n, m) = 1",
    "(n IS NULL) <> (m IS NULL)",
    "(n, m) < (1, 2)",
    "price >= 0",
    "price * 1.1 < 1e6",
    "name <> ''",
    "name IN ('a', 'b')",
    "name = 'a' OR name = 'b'",
    "name LIKE '%a%' AND name !~ '^_'",
    "name ILIKE 'x%'",
    "name SIMILAR TO '[a-z]+'",
    "lower(name) = name",
    "char_length(name) > 2",
    "name || note <> 'ab'",
    "code = 'abc'",
    "code IN ('abc', 'xyz')",
    "note = 'it''s' OR note = E'\\n'",
    "coalesce(note, '') <> ''",
    "day > '2020-01-01'",
    "day > DATE '2020-01-01' - 3",
    "at < '2030-01-01 00:00:00+00'",
    "extract(isodow FROM day) < 6",
    "span > interval '1 hour'",
    "span > '1 hour 30 minutes'",
    "'a' = ANY (tags)",
    "tags <@ ARRAY['a', 'b']",
    "cardinality(tags) > 0",
    "data ? 'a'",
    "data @> '{\"a\": 1}'",
    "data ->> 'a' = 'b'",
    "jsonb_typeof(data) = 'object'",
    "flag",
    "NOT flag OR n = 1",
    "flag IS NOT TRUE",
    "CASE WHEN flag THEN n > 0 ELSE m > 0 END",
    "id <> '00000000-0000-0000-0000-000000000000'",
    '"Größe" < 0.1',
    "n::text = note",
    "n IS DISTINCT FROM m",
    "note COLLATE \"C\" < 'a'",
    "(n > 0 AND m > 0) OR (n < 0 AND m < 0)",
    "NOT (n > 0 AND m > 0)",
    "CASE n WHEN 1 THEN true ELSE false END",
    "nullif(n, m) > 0",
    "greatest(n, m) < 5",
    "n & 1 = 0",
    "length(trim(note)) > 0",
]


@pytest.mark.slow
def test_a_condition_is_known_again_in_the_words_of_the_database(
    connection: sa.Connection,
) -> None:
    """Each as its own, and no other's."""
    checks = [
        sa.CheckConstraint(condition, name=f"c{number}")
        for number, condition in enumerate(CONDITIONS)
    ]
    send(connection, f"CREATE TABLE conditions ({COLUMNS})")
    table = sa.Table("conditions", sa.MetaData(), *checks)
    for check in checks:
        connection.execute(sa.schema.AddConstraint(check, isolate_from_table=False))
    existing = {
        found["name"]: found["sqltext"]
        for found in sa.inspect(connection).get_check_constraints(table.name)
    }
    send(connection, "SET TRANSACTION READ ONLY")
    for check in checks:
        alike = [name for name, text in existing.items() if is_condition(connection, check, text)]
        assert alike == [check.name], str(check.sqltext)
    missing = sa.CheckConstraint("nowhere > 0", name="missing")
    table.append_constraint(missing)
    assert is_condition(connection, missing, "n > 0") is None
