"""The catalogue of real databases, read as dataclasses."""

import pytest

from packages.slipway.tests.rehearse.conftest import Database
from packages.slipway.tests.rehearse.shapes import SHAPES, Shape


def test_columns_have_what_their_values_depend_on(database: Database) -> None:
    database.run(
        "CREATE TYPE mood AS ENUM ('b', 'a'); CREATE SCHEMA app;"
        "CREATE DOMAIN app.code AS varchar(5) NOT NULL CHECK (VALUE <> 'x');"
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, n numeric(7,2) DEFAULT 1 + 1,"
        ' s varchar(9)[], m mood NOT NULL, "C" app.code, g int GENERATED ALWAYS AS (1) STORED,'
        " q int4range, serial bigserial, gone int); ALTER TABLE t DROP COLUMN gone"
    )

    table = database.tables()["t"]
    found = table.by_name

    assert list(found) == ["id", "n", "s", "m", "C", "g", "q", "serial"]
    assert (found["id"].identity, found["id"].sequence) == ("ALWAYS", "t_id_seq")
    assert found["serial"].sequence == "t_serial_seq"
    assert (found["n"].type.sql, found["n"].type.precision, found["n"].type.scale) == (
        *("numeric(7,2)", 7, 2),
    )
    assert found["n"].default == "(1 + 1)"
    assert (found["g"].generated, found["g"].default) == ("1", None)
    assert found["s"].type.is_array
    assert found["s"].type.base
    assert (found["s"].type.base.sql, found["s"].type.base.modifier) == ("character varying(9)", 9)
    assert (found["m"].type.labels, found["m"].nullable) == (("b", "a"), False)
    code = found["C"]
    assert (code.type.sql, code.type.bare.modifier, code.nullable) == ("app.code", 5, False)
    assert len(code.type.checks) == 1
    assert found["q"].type.base
    assert found["q"].type.base.sql == "integer"


def test_constraints_name_their_columns_in_order(database: Database) -> None:
    database.run(
        "CREATE EXTENSION btree_gist; CREATE SCHEMA app;"
        "CREATE TABLE app.a (x int, y text, PRIMARY KEY (y, x) INCLUDE (z), z int);"
        'CREATE TABLE b (id int, "X y" int, y text, r int4range, CONSTRAINT fk FOREIGN KEY (y,'
        ' "X y") REFERENCES app.a (y, x), CONSTRAINT ck CHECK ("X y" > id), EXCLUDE USING gist'
        " (id WITH =, r WITH &&));"
        'CREATE UNIQUE INDEX u ON b (lower(y), "X y") NULLS NOT DISTINCT WHERE id > 0;'
        "CREATE INDEX no ON b (id)"
    )

    tables = database.tables()
    [key] = tables["b"].foreign_keys
    [unique] = tables["b"].uniques
    [check] = tables["b"].checks
    [exclusion] = tables["b"].exclusions

    assert tables["app.a"].primary_key == ("y", "x")
    assert (key.name, key.columns, key.target) == ("fk", ("y", "X y"), ("app", "a"))
    assert key.target_columns == ("y", "x")
    assert (unique.keys, unique.columns) == (("lower(y)", '"X y"'), ("id", "X y", "y"))
    assert (unique.predicate, unique.nulls_distinct) == ("(id > 0)", False)
    assert (check.name, set(check.columns)) == ("ck", {"id", "X y"})
    assert set(exclusion.columns) == {"id", "r"}


def test_only_tables_with_rows_of_the_users_own_are_there(database: Database) -> None:
    database.run(
        "CREATE TABLE alembic_version (version_num text); CREATE TABLE p (id int) PARTITION BY"
        " RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE TABLE t (id int);"
        "CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW m AS SELECT * FROM t;"
        "CREATE SCHEMA app; CREATE TABLE app.t (id int)"
    )

    tables = database.tables()

    assert list(tables) == ["app.t", "p", "t"]
    assert tables["p"].bounds == ("true",)
    assert tables["t"].bounds is None


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_column_of_every_shape_is_found(database: Database, shape: Shape) -> None:
    database.run(shape.ddl)

    found = {
        (table.schema, table.name, column.name)
        for table in database.tables().values()
        for column in table.columns
    }

    described = database.run(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns"
        " JOIN pg_class c ON c.oid = format('%I.%I', table_schema, table_name)::regclass"
        " WHERE NOT c.relispartition AND relkind IN ('r', 'p')"
        " AND table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    assert found == set(described)
