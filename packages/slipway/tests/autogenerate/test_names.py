"""The names that PostgreSQL chooses: each is made there without a name, and compared."""

import pytest
import sqlalchemy as sa

from slipway.autogenerate.dialect import quoted, send
from slipway.autogenerate.names import TakenNames, object_name
from slipway.autogenerate.unnamed import existing_names

LABELS = ("pkey", "key", "excl", "idx", "fkey", "check")
TABLES = {
    "short": ["items", ["name"]],
    "two columns": ["items", ["name", "amount"]],
    "quoted": ["Order Items", ["Größe", "a b"]],
    "with an underscore at an end": ["_items_", ["_name", "amount_"]],
    "with a percent sign": ["100%", ["%s"]],
    "long table": ["t" * 63, ["name"]],
    "long column": ["items", ["c" * 63]],
    "both long": ["t" * 40, ["c" * 40]],
    "equally long": ["t" * 29, ["c" * 29]],
    "fits exactly": ["t" * 30, ["c" * 28]],
    "one byte too long": ["t" * 30, ["c" * 29]],
    "many columns": ["items", [f"a_rather_long_column_{n}" for n in range(8)]],
    "columns that fill the buffer": ["items", ["a" * 31, "b" * 31, "c", "d"]],
    "columns one byte below": ["items", ["a" * 31, "b" * 30, "c", "d"]],
    "two bytes each": ["ä" * 31, ["ö" * 31]],
    "three bytes each": ["表" * 21, ["列" * 21, "列" * 20]],
    "four bytes each": ["🙂" * 15, ["🚀" * 14]],
    "cut within a character": ["x" + "ä" * 31, ["y" + "ö" * 31]],
}


def make(connection: sa.Connection, label: str, table: str, columns: list[str]) -> set[str]:
    """Make an object without a name; return the names that PostgreSQL has chosen since."""
    before = names(connection)
    among = ", ".join(quoted(column) for column in columns)
    same = ", ".join(f"{quoted(column)} WITH =" for column in columns)
    action = {
        "pkey": f"PRIMARY KEY ({among})",
        "key": f"UNIQUE ({among})",
        "excl": f"EXCLUDE ({same})",
        "fkey": f"FOREIGN KEY ({among}) REFERENCES targets",
        "check": f"CHECK (({' + '.join(quoted(column) for column in columns)}) > 0)",
    }
    if label == "idx":
        send(connection, f"CREATE INDEX ON {quoted(table)} ({among})")
    else:
        if label == "fkey":
            kinds = ", ".join(f"c{n} int" for n in range(len(columns)))
            keys = ", ".join(f"c{n}" for n in range(len(columns)))
            send(connection, f"CREATE TABLE targets ({kinds}, CONSTRAINT t PRIMARY KEY ({keys}))")
            before = names(connection)
        send(connection, f"ALTER TABLE {quoted(table)} ADD {action[label]}")
    return {name for _, name in names(connection) - before if "not_null" not in name}


def names(connection: sa.Connection) -> set[tuple[str, str]]:
    existing = existing_names(connection, "public")
    return {
        *(("relation", name) for name in existing.relations),
        *(("constraint", name) for name in existing.constraints),
    }


def make_table(connection: sa.Connection, table: str, columns: list[str]) -> None:
    kinds = ", ".join(f"{quoted(column)} int" for column in columns)
    send(connection, f"CREATE TABLE {quoted(table)} ({kinds})")


@pytest.mark.representative
@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(("table", "columns"), TABLES.values(), ids=TABLES)
def test_a_name_is_what_postgresql_chooses(
    connection: sa.Connection, table: str, columns: list[str], label: str
) -> None:
    make_table(connection, table, columns)
    named = [] if label == "pkey" or (label == "check" and len(columns) > 1) else columns
    chosen = existing_names(connection, "public").choose(table, named, label)

    assert make(connection, label, table, columns) == {chosen}


@pytest.mark.parametrize("label", [label for label in LABELS if label != "pkey"])
@pytest.mark.parametrize("taken_by", ["table", "index", "constraint", "both"])
@pytest.mark.parametrize("table", ["items", "t" * 55])
def test_a_taken_name_gets_a_number(
    connection: sa.Connection, table: str, taken_by: str, label: str
) -> None:
    make_table(connection, table, ["name"])
    make_table(connection, "others", ["a"])
    first = object_name(table, "name", label)
    statements = {
        "table": [f"CREATE TABLE {quoted(first)} ()"],
        "index": [f"CREATE INDEX {quoted(first)} ON others (a)"],
        "constraint": [f"ALTER TABLE others ADD CONSTRAINT {quoted(first)} CHECK (a > 0)"],
    }
    statements["both"] = [
        *statements["table"],
        f"ALTER TABLE others ADD CONSTRAINT {quoted(object_name(table, 'name', label + '1'))}"
        " CHECK (a > 0)",
    ]
    for statement in statements[taken_by]:
        send(connection, statement)
    chosen = existing_names(connection, "public").choose(table, ["name"], label)

    assert make(connection, label, table, ["name"]) == {chosen}


def test_names_are_taken_in_their_own_schema_only(connection: sa.Connection) -> None:
    send(connection, "CREATE SCHEMA elsewhere CREATE TABLE items_name_key ()")
    make_table(connection, "items", ["name"])
    chosen = existing_names(connection, "public").choose("items", ["name"], "key")

    assert make(connection, "key", "items", ["name"]) == {chosen} == {"items_name_key"}


def test_names_of_one_change_differ() -> None:
    taken = TakenNames()

    chosen = [taken.choose("a", ["b_c"], "key"), taken.choose("a_b", ["c"], "key")]

    assert chosen == ["a_b_c_key", "a_b_c_key1"]


def test_a_name_that_becomes_free_is_chosen() -> None:
    taken = TakenNames(constraints={"items_team_id_fkey"})

    chosen = taken.choose("items", ["team_id"], "fkey", free={"items_team_id_fkey"})

    assert chosen == "items_team_id_fkey"
