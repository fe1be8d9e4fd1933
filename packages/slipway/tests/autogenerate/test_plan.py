"""How a change is split: phases in order, and what shares a revision."""

import pytest
import sqlalchemy as sa
from alembic.operations import ops

from slipway.autogenerate.dialect import send
from slipway.autogenerate.plan import plan
from slipway.autogenerate.planned_revision import Phase

EXPAND, INDEX, UNIQUE, VALIDATE = Phase.EXPAND, Phase.INDEX, Phase.UNIQUE, Phase.VALIDATE
CONSTRAIN, NOT_NULL, CONTRACT = Phase.CONSTRAIN, Phase.NOT_NULL, Phase.CONTRACT


def column(table: str, name: str) -> ops.AddColumnOp:
    return ops.AddColumnOp(table, sa.Column(name, sa.Text))


def drop(table: str, name: str) -> ops.DropColumnOp:
    return ops.DropColumnOp.from_column_and_tablename(None, table, sa.Column(name, sa.Text))


INDEX_OP = ops.CreateIndexOp("ix", "items", ["name"])
UNIQUE_OP = ops.CreateUniqueConstraintOp("uq", "items", ["name"])
CHECK_OP = ops.CreateCheckConstraintOp("ck", "items", sa.text("amount > 0"))
KEY_OP = ops.CreateForeignKeyOp(
    "fk", "items", "teams", ["team_id"], ["id"], source_schema=None, referent_schema=None
)
REQUIRED_OP = ops.AlterColumnOp(
    "items", "name", existing_type=sa.Text(), existing_nullable=True, modify_nullable=False
)
CASES: dict[str, tuple[list[ops.MigrateOperation], list[Phase]]] = {
    "columns of one table share": ([column("items", "a"), column("items", "b")], [EXPAND]),
    "columns of two do not": ([column("items", "a"), column("teams", "b")], [EXPAND, EXPAND]),
    "each index is alone": ([INDEX_OP, INDEX_OP], [INDEX, INDEX]),
    "a unique constraint needs its index first": ([UNIQUE_OP], [INDEX, UNIQUE]),
    "a check is validated later": ([CHECK_OP], [EXPAND, VALIDATE]),
    "checks and keys share both": ([CHECK_OP, KEY_OP], [EXPAND, VALIDATE]),
    "NOT NULL is proved first": ([REQUIRED_OP], [CONSTRAIN, NOT_NULL]),
    "what goes goes last": ([drop("items", "note"), INDEX_OP], [INDEX, CONTRACT]),
    "what goes from two tables is apart": (
        [drop("items", "note"), drop("teams", "note")],
        [CONTRACT, CONTRACT],
    ),
}


@pytest.mark.parametrize(("operations", "phases"), CASES.values(), ids=CASES)
def test_a_change_is_split_into_phases(
    connection: sa.Connection, operations: list[ops.MigrateOperation], phases: list[Phase]
) -> None:
    send(connection, "CREATE TABLE teams (id int PRIMARY KEY, note text)")
    send(connection, "CREATE TABLE items (name text, amount int, note text, team_id int)")

    revisions = plan(connection, operations)

    assert [revision.phase for revision in revisions] == phases
    assert all(revision.downgrade for revision in revisions)


def test_a_revision_reverts_in_the_order_opposite_to_its_upgrade(
    connection: sa.Connection,
) -> None:
    send(connection, "CREATE TABLE items (name text)")

    [revision] = plan(connection, [column("items", "a"), column("items", "b")])

    names = [getattr(operation, "column_name", None) for operation in revision.downgrade]
    assert names == ["b", "a"]
