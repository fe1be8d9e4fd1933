"""Synthetic rows for tables of any shape, on a real server, which has the last word on them."""

from contextlib import AbstractContextManager

import pytest

from packages.slipway.tests.rehearse.conftest import Database
from packages.slipway.tests.rehearse.shapes import SHAPES, Shape


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_table_is_filled_with_valid_rows(database: Database, shape: Shape) -> None:
    database.run(shape.ddl)

    filled = database.fill(50)

    assert filled
    for title, done in filled.items():
        expected = shape.fewer.get(title, 50)
        assert done.rows == expected, done.problem
        assert ("allows no more" in done.problem) == (expected < 50)
        assert database.count(done.table) == expected


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_many_rows_are_as_valid_as_few(database: Database, shape: Shape) -> None:
    database.run(shape.ddl)

    for title, done in database.fill(5000).items():
        assert "could not be filled" not in done.problem
        assert done.rows >= shape.fewer.get(title, 50)


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("a kind, b boolean", 8),
        ("a kind, b boolean, c kind", 32),
        ("a boolean, b boolean, c boolean", 8),
    ],
)
def test_columns_that_must_not_repeat_together_take_all_combinations(
    database: Database, columns: str, rows: int
) -> None:
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    database.run(
        "CREATE TYPE kind AS ENUM ('one', 'two', 'three', 'four')",
        f"CREATE TABLE t ({columns}, PRIMARY KEY ({names}))",
    )

    assert database.fill(rows)["t"].rows == rows


# Each by a function or a cast, so that no constant of the check is a beginning.
@pytest.mark.parametrize(
    "check",
    [
        "v = upper(v) AND v <> lower(v)",
        "v::numeric > 0",
        "v = lower(v) AND v !~ '[0-9]' AND v <> ''",
        "v = upper(v) AND v !~ '[0-9]' AND v <> ''",
        "v::date IS NOT NULL",
        "v::uuid IS NOT NULL",
        "v::inet IS NOT NULL",
        "json_typeof(v::json) = 'object'",
        "v = initcap(v)",
        "strpos(v, '@') > 1 AND v = lower(v)",
        "starts_with(v, 'https://')",
    ],
)
def test_text_in_a_format_of_its_own_is_found(database: Database, check: str) -> None:
    database.run(f"CREATE TABLE t (v text NOT NULL UNIQUE CHECK ({check}))")

    assert database.fill(50)["t"].rows == 50


PROBLEMS = {
    "a check that nothing meets": (
        "CREATE TABLE t (n int NOT NULL, CONSTRAINT never CHECK (n > 5 AND n < 5))",
        {"t": "check never"},
    ),
    "a table that needs one that stays empty": (
        "CREATE TABLE t (id int PRIMARY KEY CONSTRAINT never CHECK (id <> id));"
        "CREATE TABLE u (t_id int NOT NULL REFERENCES t); CREATE TABLE v (t_id int REFERENCES t)",
        {"t": "check never", "u": "a row of t"},
    ),
    "a domain that nothing meets": (
        "CREATE DOMAIN d AS text CHECK (md5(VALUE) = VALUE); CREATE TABLE t (d d NOT NULL)",
        {"t": "domain d"},
    ),
    "a trigger that refuses": (
        "CREATE TABLE t (id int); CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not today'; END $$;"
        "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
        {"t": "not today"},
    ),
    "a partitioned table without partitions": (
        "CREATE TABLE t (id int) PARTITION BY RANGE (id)",
        {"t": "no partition"},
    ),
    "an enum without labels": (
        "CREATE TYPE e AS ENUM (); CREATE TABLE t (e e NOT NULL)",
        {"t": "the type e of e"},
    ),
    "an exclusion that keeps nothing apart": (
        "CREATE EXTENSION btree_gist; CREATE TABLE t (n int, CONSTRAINT same EXCLUDE USING gist"
        " (n WITH <>))",
        {"t": "exclusion constraint same"},
    ),
}


@pytest.mark.parametrize(("ddl", "expected"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_cannot_be_filled_is_named(
    database: Database, ddl: str, expected: dict[str, str]
) -> None:
    database.run(ddl)

    filled = database.fill(50)

    problems = {title: done.problem for title, done in filled.items() if done.problem}
    assert problems.keys() == expected.keys()
    for title, words in expected.items():
        assert words in problems[title]
        assert problems[title].startswith(f"table {title} could not be filled: ")
        assert filled[title].rows == 0


def test_tables_that_have_rows_keep_them_and_others_point_to_these(database: Database) -> None:
    database.run(
        "CREATE TABLE a (id bigserial PRIMARY KEY, name text);"
        "CREATE TABLE b (id bigserial PRIMARY KEY, a_id bigint NOT NULL REFERENCES a)",
        "INSERT INTO a VALUES (70, 'kept'), (90, 'too')",
    )

    filled = database.fill(50)

    assert (filled["a"].kept, filled["a"].rows) == (True, 2)
    assert (filled["b"].kept, filled["b"].rows) == (False, 50)
    assert database.run("SELECT a_id, count(*) FROM b GROUP BY 1 ORDER BY 1") == [
        (70, 25),
        (90, 25),
    ]


def test_sequences_go_on_behind_the_rows(database: Database) -> None:
    database.run(
        "CREATE SEQUENCE own; CREATE TABLE t (a bigserial, b int GENERATED ALWAYS AS IDENTITY,"
        " c int GENERATED BY DEFAULT AS IDENTITY (START 1000 MINVALUE 1000),"
        " d bigint DEFAULT nextval('own'), e text DEFAULT 'E-' || nextval('own'),"
        " f numeric DEFAULT nextval('own'))"
    )

    database.fill(50)

    assert database.run("INSERT INTO t DEFAULT VALUES RETURNING a, b, c, d")[0][:2] == (51, 51)
    assert database.run("SELECT max(c), max(d) FROM t") == [(1001, 51)]


def test_the_planner_knows_of_the_rows(database: Database) -> None:
    database.run("CREATE TABLE t (id int)")

    database.fill(50)

    assert database.run("SELECT reltuples::int FROM pg_class WHERE relname = 't'") == [(50,)]


def test_the_same_tables_get_the_same_rows(
    database: Database, another: AbstractContextManager[Database]
) -> None:
    shape = next(shape for shape in SHAPES if shape.name == "composite keys that share a column")
    with another as other:
        for each in (database, other):
            each.run(shape.ddl)
            each.fill(50)

        rows = "SELECT p::text, w::text FROM person p, work w ORDER BY 1, 2"
        assert database.run(rows) == other.run(rows)
