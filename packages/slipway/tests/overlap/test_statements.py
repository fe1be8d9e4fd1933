"""What a version is taken to send, by its models."""

import datetime
import ipaddress
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from packages.slipway.tests.history import History
from slipway.overlap.statements import _dialect, _of_tables, _request, templates

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def now() -> datetime.datetime:
    raise AssertionError("a value of the row is sent in its place")


def requests(*columns: sa.Column[Any], row: tuple[Any, ...]) -> Mapping[str, Any]:
    """The SQL and parameters of each kind, or None where it cannot be written down."""
    table = sa.Table("t", sa.MetaData(), *columns)
    found = {t.kind: _request(table, t, [row], _dialect()) for t in templates(table)}
    return {kind: request and request["sent"][0] for kind, request in found.items()}


def test_each_value_is_sent_as_its_type_makes_it() -> None:
    found = requests(
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Enum("small", "large", name="kind"), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("seen", postgresql.INET, nullable=False),
        row=(1, "small", {"a": 1}, ipaddress.ip_address("::1")),
    )

    assert set(found) == {"page", "insert", "read", "update"}
    sql, values = found["update"]
    assert "kind=$1::kind, details=$2::JSON" in sql
    assert values == ("small", '{"a": 1}', ipaddress.ip_address("::1"), 1)
    assert found["read"][1] == (1,)
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301


def test_what_sqlalchemy_sets_itself_is_taken_from_the_row() -> None:
    found = requests(
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("made", sa.DateTime(True), default=now, server_default=sa.func.now()),
        sa.Column("touched", sa.DateTime(True), onupdate=now),
        sa.Column("title", sa.String(3)),
        row=(1, NOW, NOW, "one"),
    )

    assert found["insert"][1] == (NOW, NOW, "one")
    sql, values = found["update with the longest title"]
    assert "touched=$1" in sql
    assert values == (NOW, "xxx", 1)


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        (sa.Column("c", sa.SmallInteger, nullable=False), {"the largest": 2**15 - 1}),
        (sa.Column("c", sa.BigInteger, nullable=False), {"the largest": 2**63 - 1}),
        (sa.Column("c", sa.Text, nullable=False), {"the longest": "x" * 10_000}),
        (sa.Column("c", sa.Boolean), {"no": None}),
        (sa.Column("c", sa.Integer, sa.Computed("1"), nullable=False), {}),
    ],
)
def test_columns_get_the_values_that_they_have_just_room_for(
    column: sa.Column[Any], kinds: Mapping[str, Any]
) -> None:
    found = requests(sa.Column("id", sa.Integer, primary_key=True), column, row=(1, 1))

    extremes = {kind: sent[1][0] for kind, sent in found.items() if kind.startswith("update with")}
    assert extremes == {f"update with {kind} c": value for kind, value in kinds.items()}


class Secret:
    """A type of the project that only its own code can read."""


def test_a_value_that_only_the_project_can_read_is_not_sent() -> None:
    found = requests(
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("secret", sa.types.NullType),
        row=(1, Secret()),
    )

    assert found["insert"] is None
    assert found["read"] is not None


def test_a_table_without_a_key_is_only_listed_and_added_to() -> None:
    found = requests(sa.Column("a", sa.Integer), row=(1,))

    assert set(found) == {"page", "insert"}


def test_tables_whose_statements_cannot_all_be_written_are_named(history: History) -> None:
    """A table that is left out without a word would pass for one that was tried."""
    metadata = sa.MetaData()
    tables = [
        sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
        for name, columns in {
            "fine": [],
            "of_another_schema": [sa.Column("missing", sa.Integer)],
            "absent": [],
            "empty": [],
        }.items()
    ]
    for name in ("fine", "of_another_schema", "empty"):
        history.sql(f"CREATE TABLE {name} (id int PRIMARY KEY)")
    history.sql("INSERT INTO fine VALUES (1)")
    history.sql("INSERT INTO of_another_schema VALUES (1)")
    engine = sa.create_engine(history.url.replace("postgresql:", "postgresql+psycopg:"))

    with engine.connect() as connection:
        found = _of_tables(connection, tables)
    engine.dispose()

    assert found["untried"] == ["of_another_schema", "absent", "empty"]
    assert {request["table"] for request in found["requests"] if request["sent"]} == {"fine"}
