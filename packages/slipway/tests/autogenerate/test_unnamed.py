"""Constraints that the models leave unnamed; PostgreSQL's own choice is the oracle."""

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic.operations import ops

from packages.slipway.tests.autogenerate.conftest import Compare
from slipway.autogenerate.dialect import DIALECT, send
from slipway.autogenerate.names import TakenNames
from slipway.autogenerate.schema_change import flatten
from slipway.autogenerate.unnamed import existing_names, name_unnamed

Add = Callable[[sa.Table], sa.Constraint]
LONG = "a_table_with_a_name_that_leaves_hardly_any_room_for_more"


def items(name: str = "items", schema: str | None = None) -> sa.Table:
    """A table with the kinds of columns that names are made of."""
    metadata = sa.MetaData()
    sa.Table("teams", metadata, sa.Column("id", sa.Integer, primary_key=True))
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("amount", sa.Integer),
        sa.Column("Größe", sa.Integer),
        sa.Column("100%", sa.Integer),
        sa.Column("team_id", sa.Integer),
        sa.Column("name", sa.Text),
        schema=schema,
    )


CONSTRAINTS: dict[str, Add] = {
    "unique": lambda _: sa.UniqueConstraint("name"),
    "unique on several": lambda _: sa.UniqueConstraint("name", "Größe", "100%"),
    "foreign key": lambda _: sa.ForeignKeyConstraint(["team_id"], ["teams.id"]),
    "foreign key to itself": lambda t: sa.ForeignKeyConstraint(["amount"], [t.c.id]),
    "check of one column": lambda _: sa.CheckConstraint("amount > 0"),
    "check of one column, twice": lambda _: sa.CheckConstraint("amount > 0 AND amount < 9"),
    "check of two columns": lambda _: sa.CheckConstraint("amount > team_id"),
    "check of none": lambda _: sa.CheckConstraint("1 > 0"),
    "check with a function": lambda _: sa.CheckConstraint("length(name) > 2"),
    "check with a text that names a column": lambda _: sa.CheckConstraint("name <> 'amount'"),
    "check with a pattern": lambda _: sa.CheckConstraint("name LIKE '%a%' AND name !~ '%s'"),
    "check in quotes": lambda _: sa.CheckConstraint('"Größe" % 2 = 0'),
    "check with a percent sign": lambda _: sa.CheckConstraint('"100%" > 0'),
    "check as an expression": lambda t: sa.CheckConstraint(t.c["Größe"] > t.c.amount * 2),
    "check as an expression of one": lambda t: sa.CheckConstraint(t.c.name.in_(["a", "b%"])),
    "check that names its table": lambda t: sa.CheckConstraint(f'"{t.name}".amount > 0'),
}


def chosen_by_postgresql(connection: sa.Connection, constraint: sa.Constraint) -> set[str]:
    schema = constraint.table.schema or "public"
    with connection.begin_nested() as attempt:
        before = existing_names(connection, schema).constraints
        connection.execute(sa.schema.AddConstraint(constraint, isolate_from_table=False))
        after = existing_names(connection, schema).constraints
        attempt.rollback()
    return after - before


def names_of(operations: list[ops.MigrateOperation]) -> set[str]:
    added = (op for op in flatten(operations) if isinstance(op, ops.AddConstraintOp))
    return {str(op.constraint_name) for op in added}  # type: ignore[attr-defined]


@pytest.mark.parametrize("schema", [None, "Other Schema"])
@pytest.mark.parametrize("table_name", ["items", "Order", LONG])
@pytest.mark.parametrize("add", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_a_constraint_gets_the_name_that_postgresql_would_give_it(
    connection: sa.Connection, compare: Compare, add: Add, table_name: str, schema: str | None
) -> None:
    send(connection, 'CREATE SCHEMA "Other Schema"')
    table = items(table_name, schema)
    table.metadata.create_all(connection)
    constraint = add(table)
    table.append_constraint(constraint)
    [expected] = chosen_by_postgresql(connection, constraint)

    operations = compare(table.metadata)
    name_unnamed(connection, operations)

    assert names_of(operations) == {expected}


def test_a_constraint_of_a_column_to_come_is_named(
    connection: sa.Connection, compare: Compare
) -> None:
    items().metadata.create_all(connection)
    table = items()
    for column in (
        sa.Column("price", sa.Numeric(8, 2)),
        sa.Column("state", sa.Enum("open", "done", name="state")),
        sa.Column("kind", sa.Enum("a", "b", native_enum=False, create_constraint=True)),
        sa.Column("flag", sa.Boolean(create_constraint=True)),
        sa.Column("owner_id", sa.ForeignKey("teams.id")),
        sa.Column("code", sa.Text, unique=True),
    ):
        table.append_column(column)
    table.append_constraint(sa.CheckConstraint("price > 0"))
    table.append_constraint(sa.CheckConstraint("state <> 'done'"))
    table.append_constraint(sa.CheckConstraint("price > amount"))

    operations = compare(table.metadata)
    name_unnamed(connection, operations)

    assert names_of(operations) == {
        "items_price_check",
        "items_state_check",
        "items_kind_check",
        "items_check",
        "items_owner_id_fkey",
        "items_code_key",
    }


def test_names_that_are_taken_or_wanted_twice_get_numbers(
    connection: sa.Connection, compare: Compare
) -> None:
    items().metadata.create_all(connection)
    send(connection, "CREATE TABLE items_name_key (id int PRIMARY KEY)")
    table = items()
    table.metadata.remove(table.metadata.tables["teams"])
    table.append_constraint(sa.UniqueConstraint("name"))
    for limit in range(3):
        table.append_constraint(sa.CheckConstraint(f"amount > {limit}"))

    operations = compare(table.metadata)
    name_unnamed(connection, operations)

    assert names_of(operations) == {
        "items_name_key1",
        "items_amount_check",
        "items_amount_check1",
        "items_amount_check2",
    }


def test_a_new_table_takes_names_too(connection: sa.Connection, compare: Compare) -> None:
    """PostgreSQL names its constraints when it is made, which is before an index is built."""
    metadata = sa.MetaData()
    a = sa.Table("a", metadata, sa.Column("id", sa.Integer, primary_key=True))
    a.append_column(sa.Column("b_c", sa.Integer))
    metadata.create_all(connection)
    a.append_constraint(sa.UniqueConstraint("b_c"))
    sa.Table("a_b", metadata, sa.Column("c", sa.Integer, unique=True))

    operations = compare(metadata)
    name_unnamed(connection, operations)

    [unique] = [op for op in flatten(operations) if isinstance(op, ops.CreateUniqueConstraintOp)]
    assert unique.constraint_name == "a_b_c_key1"


def test_what_replaces_a_constraint_takes_over_its_name(
    connection: sa.Connection, compare: Compare
) -> None:
    table = items()
    table.append_constraint(sa.ForeignKeyConstraint(["team_id"], ["teams.id"]))
    table.append_constraint(sa.CheckConstraint("amount > 0"))
    table.metadata.create_all(connection)
    table = items()
    table.append_constraint(sa.ForeignKeyConstraint(["team_id"], ["teams.id"], ondelete="CASCADE"))
    table.append_constraint(sa.CheckConstraint("amount > 1"))

    operations = compare(table.metadata)
    name_unnamed(connection, operations)

    assert names_of(operations) == {"items_team_id_fkey", "items_amount_check"}


@pytest.mark.parametrize("add", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_models_and_schema_agree_once_it_exists(
    connection: sa.Connection, compare: Compare, add: Add
) -> None:
    table = items()
    table.append_constraint(add(table))
    table.metadata.create_all(connection)

    assert compare(table.metadata) == []


def test_names_with_a_convention_stay_as_they_are(
    connection: sa.Connection, compare: Compare
) -> None:
    items().metadata.create_all(connection)
    convention = {"uq": "uq_%(table_name)s_%(column_0_N_name)s"}
    metadata = sa.MetaData(naming_convention=convention)
    table = items().to_metadata(metadata)
    items().metadata.tables["teams"].to_metadata(metadata)
    table.append_constraint(sa.UniqueConstraint("name"))
    table.append_constraint(sa.CheckConstraint("amount > 0", name="positive"))
    table.append_constraint(sa.CheckConstraint("amount > 1"))

    operations = compare(metadata)
    name_unnamed(connection, operations)

    assert names_of(operations) == {"uq_items_name", "positive", "items_amount_check"}


NO_INDEXES = {"uq": "uq_%(table_name)s_%(column_0_N_name)s"}
INDEXES: dict[str, Callable[[sa.Table], sa.Index]] = {
    "one column": lambda t: sa.Index(None, t.c.name),
    "two columns": lambda t: sa.Index(None, t.c["Größe"], t.c["100%"]),
    "descending": lambda t: sa.Index(None, t.c.amount.desc().nulls_last(), t.c.name),
    "expressions": lambda t: sa.Index(None, t.c.amount + 1, t.c.amount + 2, t.c.name),
    "included": lambda t: sa.Index(None, t.c.name, postgresql_include=["amount"]),
    "unique": lambda t: sa.Index(None, t.c.name, unique=True),
}


def unnamed_index(table_name: str, add: Callable[[sa.Table], sa.Index]) -> sa.Index:
    table = items(table_name).to_metadata(sa.MetaData(naming_convention=NO_INDEXES))
    return add(table)


@pytest.mark.parametrize("table_name", ["items", LONG])
@pytest.mark.parametrize("add", INDEXES.values(), ids=INDEXES)
def test_an_index_gets_the_name_that_postgresql_would_give_it(
    connection: sa.Connection,
    compare: Compare,
    add: Callable[[sa.Table], sa.Index],
    table_name: str,
) -> None:
    """SQLAlchemy itself can create none without a name, and Alembic names it None."""
    items(table_name).metadata.create_all(connection)
    index = unnamed_index(table_name, add)
    assert index.table is not None
    before = existing_names(connection, "public").relations
    named = add(items(table_name))
    sql = str(sa.schema.CreateIndex(named).compile(dialect=DIALECT))
    with connection.begin_nested() as attempt:
        send(connection, re.sub(r"INDEX .* ON ", "INDEX ON ", sql))
        [expected] = existing_names(connection, "public").relations - before
        attempt.rollback()

    operations = compare(index.table.metadata)
    name_unnamed(connection, operations)

    [added] = [op for op in flatten(operations) if isinstance(op, ops.CreateIndexOp)]
    assert added.index_name == expected
    send(connection, re.sub(r"INDEX .* ON ", f'INDEX "{expected}" ON ', sql))
    again = flatten(compare(index.table.metadata))
    assert [op for op in again if isinstance(op, ops.CreateIndexOp | ops.DropIndexOp)] == []


def test_an_unnamed_index_of_a_new_table_is_created(
    connection: sa.Connection, compare: Compare
) -> None:
    index = unnamed_index("items", INDEXES["one column"])
    assert index.table is not None

    operations = compare(index.table.metadata)
    name_unnamed(connection, operations)

    [added] = [op for op in flatten(operations) if isinstance(op, ops.CreateIndexOp)]
    assert added.index_name == "items_name_idx"


def test_taken_names_are_empty_for_a_schema_to_come(connection: sa.Connection) -> None:
    assert existing_names(connection, "nowhere") == TakenNames()
