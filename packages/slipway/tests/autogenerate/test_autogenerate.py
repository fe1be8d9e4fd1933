"""What autogenerate refuses, and what it says; what it writes runs under load in test_changes."""

from pathlib import Path

import pytest

from packages.slipway.tests.history import History
from packages.slipway.tests.modelled import FORMS, TEMPLATES, Form, ModelledHistory

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


@pytest.mark.representative
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


BEFORE = """
class Team(Base):
    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)

class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    amount: Mapped[int | None]
    old: Mapped[str | None]
    team_id: Mapped[int | None]
    state: Mapped[str] = mapped_column(sa.Enum("open", "100%", name="state"), server_default="open")
"""
AFTER = """
class Cents(sa.TypeDecorator):
    impl = sa.Integer
    cache_ok = True

class Team(Base):
    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)

class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    amount: Mapped[int | None] = mapped_column(index=True)
    team_id: Mapped[int | None] = mapped_column(sa.ForeignKey("teams.id"))
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("teams.id"))
    state: Mapped[str] = mapped_column(
        sa.Enum("open", "100%", "late", name="state"), server_default="late"
    )
    share: Mapped[str] = mapped_column(server_default="50%", comment="in %s")
    price: Mapped[int | None] = mapped_column(Cents)
    __table_args__ = (CHECK,)
"""
UNNAMED = """sa.CheckConstraint("name LIKE '%a%'")"""
NAMED = """sa.CheckConstraint("name LIKE '%a%'", name="a")"""


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(FORMS[0], marks=pytest.mark.representative, id=str(FORMS[0])),
        *(pytest.param(form, marks=pytest.mark.slow, id=str(form)) for form in FORMS[1:]),
    ],
)
def test_a_change_is_written_applied_and_reverted_in_each_form(
    history: History, form: Form
) -> None:
    modelled = ModelledHistory(history.folder, history.url, form=form)
    modelled.models(BEFORE)
    code, printed = modelled.run([*GENERATE], ["upgrade", "head"])
    assert code == 0, printed
    before = modelled.schema()
    modelled.models(AFTER.replace("CHECK", NAMED if form.convention else UNNAMED))

    files = modelled.generate("change")

    text = "\n".join(file.read_text() for file in files)
    assert "None'" not in text
    assert "import app" not in text
    # Every file says why it exists, and that the column goes is a contract.
    assert "while items is read and written" in text
    assert text.count('phase = "contract"') == 1
    steps = [["downgrade", f"-{len(files)}"], ["upgrade", "head"], ["check"]]
    code, printed = modelled.run(["upgrade", "head"], ["check"], *steps)
    assert code == 0, printed
    assert modelled.schema() - before


@pytest.mark.slow
@pytest.mark.parametrize("template", ["async", "generic", "pyproject", "pyproject_async"])
def test_each_template_of_alembic_gets_the_reasons(history: History, template: str) -> None:
    form = Form(template=TEMPLATES / template / "script.py.mako")
    modelled = ModelledHistory(history.folder, history.url, form=form)
    modelled.models(ITEMS)
    modelled.run([*GENERATE], ["upgrade", "head"])
    modelled.models(WITH_INDEX.replace("    name", "    # name"))

    [dropped] = modelled.generate("drop")

    upgrade = dropped.read_text().partition("def upgrade")[2]
    assert "# Drops items.name with its data" in upgrade.partition("def downgrade")[0]
    assert 'phase = "contract"' in dropped.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["", "https://example.com/migrations"])
def test_hints_name_the_documentation_if_there_is_one(items: ModelledHistory, setting: str) -> None:
    configuration = items.folder / "pyproject.toml"
    configuration.write_text(configuration.read_text() + f'documentation = "{setting}"\n')
    items.models(ITEMS + "    email: Mapped[str] = mapped_column()\n")

    [added] = items.generate("required")

    text = added.read_text()
    assert "TODO" in text
    assert ("https://example.com/migrations" in text) == bool(setting)
    assert "docs/" not in text


MULTIDB = """
import sqlalchemy as sa
from slipway.autogenerate import process_revision_directives, render_item

target_metadata = {name: sa.MetaData() for name in ("engine1", "engine2")}
for name, metadata in target_metadata.items():
    kind = sa.Enum("a", "b", name="kind")
    table = sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True))
    if getattr(context.config.cmd_opts, "message", "") == "second":
        table.append_column(sa.Column("code", sa.Text, unique=True))
        table.append_column(sa.Column("kind", kind))
"""


@pytest.mark.slow
def test_several_databases_share_one_revision(history: History) -> None:
    """As Alembic writes it, with the names and the types that it would leave out."""
    folder = history.folder
    history.sql("CREATE DATABASE history2")
    code, printed = history.alembic("init", "-t", "multidb", "migrations")
    assert code == 0, printed
    ini = (folder / "alembic.ini").read_text()
    url = history.url.replace("postgresql:", "postgresql+psycopg:").replace("%", "%%")
    other = url.replace("/history?", "/history2?")
    for placeholder, value in (("dbname2", other), ("dbname", url)):
        ini = ini.replace(f"driver://user:pass@localhost/{placeholder}", value)
    (folder / "alembic.ini").write_text(ini)
    env = (folder / "migrations/env.py").read_text()
    env = env.replace("target_metadata = {}", MULTIDB)
    online = env.rindex("target_metadata=target_metadata.get(name),")
    options = "process_revision_directives=process_revision_directives, render_item=render_item, "
    env = env[:online] + options + env[online:]
    (folder / "migrations/env.py").write_text(env)
    try:
        for message in ("first", "second"):
            command = ("revision", "--autogenerate", "-m", message)
            code, printed = history.run(command, ["upgrade", "head"])
            assert code == 0, printed

        [second] = (folder / "migrations/versions").glob("*_second.py")
        text = second.read_text()
        assert "engine1_code_key" in text
        assert "engine2_code_key" in text
        code, printed = history.run(["downgrade", "base"], ["upgrade", "head"])
        assert code == 0, printed
    finally:
        history.sql("DROP DATABASE history2 WITH (FORCE)")
