"""Checks of the models and of the database, compared by what they allow."""

import sqlalchemy as sa
from alembic.operations import ops

from packages.slipway.tests.autogenerate.conftest import Compare
from slipway.autogenerate.dialect import send
from slipway.autogenerate.schema_change import flatten


def items(*checks: sa.CheckConstraint, flag: bool = False) -> sa.MetaData:
    metadata = sa.MetaData()
    table = sa.Table("items", metadata, sa.Column("amount", sa.Integer), *checks)
    if flag:
        kind = sa.Boolean(create_constraint=True, name="is_flag")
        table.append_column(sa.Column("flag", kind))
    return metadata


def found(operations: list[ops.MigrateOperation]) -> list[tuple[str, object]]:
    return [(type(op).__name__, getattr(op, "constraint_name", None)) for op in flatten(operations)]


def test_an_unnamed_check_is_known_by_its_condition(
    connection: sa.Connection, compare: Compare
) -> None:
    send(
        connection,
        "CREATE TABLE items (amount int, CONSTRAINT mine CHECK (amount BETWEEN 1 AND 9))",
    )

    assert compare(items(sa.CheckConstraint("amount BETWEEN 1 AND 9"))) == []


def test_two_unnamed_checks_of_one_condition_are_two(
    connection: sa.Connection, compare: Compare
) -> None:
    send(connection, "CREATE TABLE items (amount int, CHECK (amount > 0))")

    twice = (sa.CheckConstraint("amount > 0"), sa.CheckConstraint("amount > 0"))

    assert found(compare(items(*twice))) == [("CreateCheckConstraintOp", None)]


def test_an_unnamed_check_with_another_condition_goes_and_comes(
    connection: sa.Connection, compare: Compare
) -> None:
    items(sa.CheckConstraint("amount > 0")).create_all(connection)

    operations = compare(items(sa.CheckConstraint("amount > 1")))

    assert found(operations) == [
        ("DropConstraintOp", "items_amount_check"),
        ("CreateCheckConstraintOp", None),
    ]


def test_a_named_check_is_not_one_without_a_name(
    connection: sa.Connection, compare: Compare
) -> None:
    send(connection, "CREATE TABLE items (amount int, CONSTRAINT a CHECK (amount > 0))")

    operations = compare(items(sa.CheckConstraint("amount > 0", name="b")))

    assert found(operations) == [("DropConstraintOp", "a"), ("CreateCheckConstraintOp", "b")]


def test_a_check_that_postgresql_does_not_get_is_not_missed(
    connection: sa.Connection, compare: Compare
) -> None:
    items(flag=True).create_all(connection)

    assert compare(items(flag=True)) == []


def test_who_may_not_read_the_table_finds_no_difference(
    connection: sa.Connection, compare: Compare
) -> None:
    models = items(sa.CheckConstraint("amount > 0"), sa.CheckConstraint("amount < 9", name="most"))
    models.create_all(connection)
    send(connection, "CREATE ROLE stranger")
    send(connection, "SET LOCAL ROLE stranger")

    assert compare(models) == []
