"""What autogenerate refuses, and what it says; what it writes runs under load in test_changes."""

from pathlib import Path

import pytest

from packages.slipway.tests.history import History
from packages.slipway.tests.modelled import ModelledHistory

ITEMS = """
class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column()
"""
ENTRIES = """
class Entry(Base):
    __tablename__ = "entries"
    __table_args__ = {"schema": "ours"}
    id: Mapped[int] = mapped_column(primary_key=True)
"""
WITH_INDEX = ITEMS.replace("mapped_column()", "mapped_column(index=True)")
GENERATE = ("revision", "--autogenerate", "-m", "change")


@pytest.fixture
def items(history: History) -> ModelledHistory:
    """A database with a table, at its first revision."""
    modelled = ModelledHistory(history.folder, history.url)
    modelled.models(ITEMS)
    code, printed = modelled.run([*GENERATE], ["upgrade", "head"])
    assert code == 0, printed
    return modelled


def revisions(history: ModelledHistory) -> list[Path]:
    return sorted((history.folder / "migrations/versions").glob("*.py"))


def assert_refused(history: ModelledHistory, *words: str) -> None:
    before = revisions(history)
    for command in (GENERATE, ("check",)):
        code, printed = history.alembic(*command)
        assert code == 1
        assert "Traceback" not in printed
        last = printed.splitlines()[-1]
        for word in words:
            assert word in last
    assert revisions(history) == before


def test_a_database_behind_the_revisions_is_refused(items: ModelledHistory) -> None:
    items.models(WITH_INDEX)
    [added] = items.generate("index")

    assert_refused(items, added.name.split("_")[2], "alembic upgrade head")


@pytest.mark.slow
def test_several_heads_are_refused(items: ModelledHistory) -> None:
    items.models(WITH_INDEX)
    [added] = items.generate("index")
    revision = added.name.split("_")[2]
    other = added.read_text().replace(revision, "0ther")
    (added.parent / "other.py").write_text(other)

    assert_refused(items, revision, "0ther", "down_revision")


@pytest.mark.slow
def test_tables_that_no_revision_made_are_refused(items: ModelledHistory) -> None:
    items.sql("DROP TABLE alembic_version")

    assert_refused(items, "items", "alembic stamp")


@pytest.mark.slow
def test_a_database_of_another_branch_is_refused(items: ModelledHistory) -> None:
    items.sql("UPDATE alembic_version SET version_num = 'elsewhere'")

    assert_refused(items, "elsewhere", "alembic downgrade")


@pytest.mark.slow
def test_foreign_tables_of_an_empty_database_are_none_of_ours(items: ModelledHistory) -> None:
    items.sql("DROP TABLE items, alembic_version; CREATE TABLE spatial (id int)")

    code, printed = items.run(["upgrade", "head"])

    assert code == 0, printed


@pytest.mark.slow
def test_a_schema_that_no_model_names_is_left_alone(items: ModelledHistory) -> None:
    """Beside one that a model does name, where a table of nobody is noticed."""
    items.sql("CREATE SCHEMA ours; CREATE SCHEMA theirs; CREATE TABLE theirs.things (id int)")
    items.models(ITEMS + ENTRIES)

    [added] = items.generate("entries")

    assert "entries" in added.read_text()
    assert "things" not in added.read_text()
    code, printed = items.run(["upgrade", "head"], ["check"])
    assert code == 0, printed
    items.sql("ALTER TABLE theirs.things SET SCHEMA ours")
    code, printed = items.alembic("check")
    assert code != 0
    assert "things" in printed


@pytest.mark.slow
def test_models_that_agree_with_the_schema_give_no_file(items: ModelledHistory) -> None:
    before = revisions(items)

    code, printed = items.alembic(*GENERATE)

    assert code == 0, printed
    assert revisions(items) == before


def test_unsafe_gives_one_plain_revision_that_says_so(items: ModelledHistory) -> None:
    items.models(WITH_INDEX)
    before = revisions(items)

    code, printed = items.run(["-x", "unsafe", *GENERATE], ["upgrade", "head"], ["check"])

    assert code == 0, printed
    [added] = set(revisions(items)) - set(before)
    text = added.read_text()
    assert "-x unsafe" in text
    assert "op.create_index(" in text
    code, printed = items.run(["downgrade", "-1"], ["upgrade", "head"])
    assert code == 0, printed


@pytest.mark.slow
def test_names_show_order_and_purpose(items: ModelledHistory) -> None:
    items.models(
        ITEMS.replace("mapped_column()", "mapped_column(index=True)")
        + "    slug: Mapped[str] = mapped_column(unique=True, server_default='')\n"
    )

    files = items.generate("add slug to items")

    assert len(files) > 2
    assert [path.name for path in files] == sorted(path.name for path in files)
    assert all("add_slug_to_items" in path.name for path in files)


@pytest.mark.slow
def test_a_message_may_hold_what_python_would_read(items: ModelledHistory) -> None:
    items.models(WITH_INDEX)
    code, printed = items.run(
        ["revision", "--autogenerate", "-m", 'say """no""" to C:\\users'], ["upgrade", "head"]
    )
    assert code == 0, printed
