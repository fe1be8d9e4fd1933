"""The hooks for `context.configure()`, without a project around them."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from packages.slipway.tests.autogenerate.conftest import Compare
from slipway.autogenerate import include_name, process_revision_directives
from slipway.autogenerate.dialect import send
from slipway.queries import BACKFILL_PROGRESS


def metadata(*schemas: str | None) -> sa.MetaData:
    result = sa.MetaData()
    for schema in schemas:
        sa.Table("items", result, sa.Column("id", sa.Integer), schema=schema)
    return result


@pytest.mark.parametrize(
    ("models", "included"),
    [
        (metadata(), {None}),
        (metadata(None, "billing"), {None, "billing"}),
        ([metadata(None), metadata("billing"), metadata("audit")], {None, "billing", "audit"}),
        ((), {None}),
    ],
    ids=["empty", "one", "several", "none"],
)
def test_schemas_that_models_name_are_included(
    models: sa.MetaData | Sequence[sa.MetaData], included: set[str | None]
) -> None:
    names = (None, "billing", "audit", "theirs")

    found = {name for name in names if include_name(models, name, "schema", {})}

    assert found == included


def test_the_table_of_backfills_is_left_alone() -> None:
    assert not include_name(metadata(), BACKFILL_PROGRESS, "table", {})
    assert include_name(metadata(), "items", "table", {})
    assert include_name(metadata(), BACKFILL_PROGRESS, "column", {})


def test_enums_and_tables_of_several_metadata_are_compared(
    connection: sa.Connection, compare: Compare
) -> None:
    models = [sa.MetaData(), sa.MetaData()]
    for number, each in enumerate(models):
        kind = sa.Enum("a", "b", name=f"kind{number}")
        sa.Table(f"t{number}", each, sa.Column("kind", kind))
        each.create_all(connection)
    assert compare(*models) == []
    send(connection, "ALTER TYPE kind1 RENAME VALUE 'b' TO 'c'")

    [added] = compare(*models)

    assert added.to_diff_tuple() == ("add_enum_value", "kind1", "b")


def test_each_of_several_scripts_is_planned(connection: sa.Connection, tmp_path: Path) -> None:
    """As a hook that was called before this one may have made them."""
    send(connection, "CREATE TABLE items (id int PRIMARY KEY, name text, note text)")
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    (tmp_path / "script.py.mako").write_text('config.attributes["notes"]')
    config.cmd_opts = Namespace(autogenerate=True, x=None)
    unique = ops.CreateUniqueConstraintOp(None, "items", ["name"])
    index = ops.CreateIndexOp("ix", "items", ["note"])
    empty = ops.MigrationScript("c", ops.UpgradeOps([]), ops.DowngradeOps([]), head="b")
    directives = [
        ops.MigrationScript("a", ops.UpgradeOps([unique]), ops.DowngradeOps([])),
        ops.MigrationScript("b", ops.UpgradeOps([index]), ops.DowngradeOps([]), head="a"),
        empty,
    ]

    with EnvironmentContext(config, ScriptDirectory.from_config(config)) as environment:
        environment.configure(connection=connection, target_metadata=sa.MetaData())
        process_revision_directives(environment.get_context(), "head", directives)

    assert [(script.rev_id, script.head) for script in directives] == [
        ("a_1", None),
        ("a_2", "a_1"),
        ("b", "a_2"),
    ]
    assert unique.constraint_name == "items_name_key"
    assert set(config.attributes["notes"]) == {"a_1", "a_2", "b"}
