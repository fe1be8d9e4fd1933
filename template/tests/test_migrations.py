"""What must hold for every history of migrations, however long."""

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from tests.conftest import ALEMBIC

SCRIPTS = ScriptDirectory.from_config(ALEMBIC)
REVISIONS = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]


def test_there_is_one_head() -> None:
    assert len(SCRIPTS.get_heads()) <= 1


@pytest.mark.usefixtures("empty_database_url")
def test_upgrade_from_nothing_gives_the_schema_of_the_models() -> None:
    command.upgrade(ALEMBIC, "head")
    command.check(ALEMBIC)


@pytest.mark.usefixtures("empty_database_url")
def test_each_revision_can_be_reverted_and_applied_again() -> None:
    for revision in REVISIONS:
        command.upgrade(ALEMBIC, revision)
        command.downgrade(ALEMBIC, "-1")
        command.upgrade(ALEMBIC, revision)
    command.check(ALEMBIC)


@pytest.mark.usefixtures("empty_database_url")
def test_all_revisions_can_be_reverted_at_once() -> None:
    command.upgrade(ALEMBIC, "head")
    command.downgrade(ALEMBIC, "base")
    command.upgrade(ALEMBIC, "head")
