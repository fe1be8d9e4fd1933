"""Rows for schemas that nobody thought of."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packages.slipway.tests.rehearse.conftest import Database

TYPES = ["int", "bigint", "text", "varchar(12)", "numeric(9,2)", "date", "timestamptz", "uuid"]
OTHERS = ["boolean", "jsonb", "int[]", "inet", "mood", "daterange", "char(4)", "real", "bytea"]
CHECKS = {
    "int": ["{} > 10", "{} BETWEEN 5 AND 900", "{} <> 3", "{} % 2 = 0"],
    "text": ["length({}) < 60", "{} <> ''", "{} ~ '^[a-z]'", "{} = lower({})"],
    "date": ["{} > '2001-01-01'", "{} BETWEEN '2010-01-01' AND '2030-01-01'"],
    "numeric(9,2)": ["{} >= 0", "{} < 5000"],
}


@st.composite
def schemas(draw: st.DrawFn) -> str:
    """Up to five tables, with keys to those before them, to themselves, and back by ALTER TABLE."""
    ddl = ["CREATE TYPE mood AS ENUM ('a', 'b', 'c')"]
    number = draw(st.integers(1, 5))
    for place in range(number):
        columns = [draw(st.sampled_from(["id int PRIMARY KEY", "id bigserial PRIMARY KEY"]))]
        for column in range(draw(st.integers(0, 4))):
            kind = draw(st.sampled_from([*TYPES, *OTHERS]))
            name = f"c{column}"
            check = draw(st.none() | st.sampled_from(CHECKS.get(kind, ["{} IS NOT NULL"])))
            columns.append(
                f"{name} {kind}"
                + draw(st.sampled_from(["", " NOT NULL"]))
                + (" UNIQUE" if kind in TYPES and not check and draw(st.booleans()) else "")
                + (f" CHECK ({check.format(name, name)})" if check else "")
            )
        for target in draw(st.sets(st.integers(0, place), max_size=3)):
            required = draw(st.sampled_from(["", " NOT NULL"]))
            unique = draw(st.sampled_from(["", " UNIQUE"]))
            columns.append(f"t{target}_id bigint{required}{unique}")
            ddl.append(
                f"ALTER TABLE t{place} ALTER t{target}_id TYPE bigint,"
                f" ADD FOREIGN KEY (t{target}_id) REFERENCES t{target}"
            )
        ddl.insert(1, f"CREATE TABLE t{place} ({', '.join(columns)})")
    if draw(st.booleans()):
        ddl.append(f"ALTER TABLE t0 ADD back bigint NOT NULL REFERENCES t{number - 1}")
    return "; ".join(ddl)


@pytest.mark.slow
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(schemas())
def test_any_schema_is_filled(database: Database, ddl: str) -> None:
    database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", ddl)

    filled = database.fill(40)

    assert {title: done.problem for title, done in filled.items() if done.problem} == {}
    assert {database.count(done.table) for done in filled.values()} == {40}
