"""`slipway init` in an empty folder and in what `alembic init` leaves, used as the README says."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic import command as alembic_command
from alembic.config import Config

from packages.slipway.tests.history import History
from packages.slipway.tests.rows import ROOT
from slipway.__main__ import main
from slipway.init import command

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
STOCK = [folder.name for folder in command.STOCK]
PLACEHOLDER = "driver://user:pass@localhost/dbname"


@dataclass(frozen=True)
class Shop:
    """A project with models, and nothing of migrations; its package has a name for each test."""

    history: History
    package: str

    @property
    def folder(self) -> Path:
        return self.history.folder

    @property
    def env(self) -> Path:
        return self.folder / "migrations/env.py"

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def alembic_init(self, template: str) -> None:
        has_toml = template.startswith("pyproject")
        config = Config("alembic.ini", toml_file="pyproject.toml" if has_toml else None)
        alembic_command.init(config, "migrations", template=template)

    def set_url(self, driver: str) -> None:
        ini = self.folder / "alembic.ini"
        url = self.history.url.replace("postgresql://", f"postgresql+{driver}://")
        ini.write_text(ini.read_text().replace(PLACEHOLDER, url.replace("%", "%%")))

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }


@pytest.fixture
def shop(history: History, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Shop:
    monkeypatch.chdir(history.folder)
    # Modules that were imported stay: each test has its own.
    made = Shop(history, f"shop_{abs(hash(request.node.name))}")
    made.write(f"{made.package}/__init__.py", "")
    made.write(f"{made.package}/models.py", MODELS)
    return made


Init = Callable[..., tuple[int, str]]


@pytest.fixture
def init(capsys: pytest.CaptureFixture[str]) -> Init:
    def init(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["init", *arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return init


def short(shop: Shop, *imports: str, target: str = "Base.metadata") -> str:
    lines = imports or (f"from {shop.package}.models import Base",)
    return (
        "from slipway.env import configure_logging, run\n\n"
        + "\n".join(lines)
        + f"\n\nconfigure_logging()\nrun({target})\n"
    )


def test_the_template_of_revisions_is_the_one_of_new_projects() -> None:
    ours = ROOT / "packages/slipway/src/slipway/init/script.py.mako"
    assert ours.read_text() == (ROOT / "template/src/migrations/script.py.mako").read_text()


@pytest.mark.parametrize("has_toml", [False, True])
def test_a_project_without_alembic(shop: Shop, init: Init, has_toml: bool) -> None:
    if has_toml:
        shop.write("pyproject.toml", '[project]\nname = "shop"\nversion = "1"')

    code, printed = init(f"{shop.package}.models:Base")

    assert code == 0, printed
    assert shop.env.read_text() == short(shop)
    section, file = (
        ("[tool.slipway]", "pyproject.toml") if has_toml else ("[slipway]", "alembic.ini")
    )
    assert section in (shop.folder / file).read_text()
    assert "sqlalchemy.url" in printed
    before = shop.files()

    assert init() == (0, "Nothing to do.\n")
    assert shop.files() == before


@pytest.mark.parametrize(
    "template", ["generic", *(pytest.param(name, marks=pytest.mark.slow) for name in STOCK[1:])]
)
def test_what_alembic_init_leaves_is_guarded_and_upgraded(
    shop: Shop, init: Init, template: str
) -> None:
    shop.alembic_init(template)
    shop.set_url("asyncpg" if "async" in template else "psycopg")

    code, printed = init()

    assert code == 0, printed
    assert shop.env.read_text() == short(shop)
    assert "sqlalchemy.url" not in printed
    code, printed = shop.history.run(
        ["revision", "--autogenerate", "-m", "orders"], ["upgrade", "head"], ["check"]
    )
    assert code == 0, printed
    assert shop.history.sql("SELECT * FROM orders") == []
    assert main(["guard"]) == 0


@pytest.mark.parametrize("template", [STOCK[0], STOCK[-1]])
def test_the_metadata_that_env_py_has_is_kept(shop: Shop, init: Init, template: str) -> None:
    shop.alembic_init(template)
    line = f"from {shop.package}.models import Base  # noqa: I001  ours"
    target = f"{line}\ntarget_metadata = [Base.metadata]"
    shop.env.write_text(shop.env.read_text().replace("target_metadata = None", target))

    code, printed = init()

    assert code == 0, printed
    assert shop.env.read_text() == short(shop, line, target="[Base.metadata]")


EDITS = {
    "code": ("poolclass=pool.NullPool", "poolclass=pool.QueuePool"),
    "comment": ("target_metadata = None", "# Ask Ada.\ntarget_metadata = None"),
    "option": ("literal_binds=True,", "literal_binds=True, include_schemas=True,"),
    "statement": ("target_metadata = None", "import sys\nsys.path.append('x')"),
    "syntax": ("target_metadata = None", "target_metadata ="),
}


@pytest.mark.parametrize("template", ["generic", "async"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_env_py_that_was_edited_stays(shop: Shop, init: Init, template: str, edit: str) -> None:
    shop.alembic_init(template)
    edited = shop.env.read_text().replace(*EDITS[edit])
    shop.env.write_text(edited)

    code, printed = init()

    assert code == 1, printed
    assert shop.env.read_text() == edited
    assert "Nothing to do" not in init()[1]
    assert "migrations/env.py" in printed


BEGIN = re.compile(r"( *)with context\.begin_transaction\(\):\n *context\.run_migrations\(\)\n")


@pytest.mark.parametrize(
    ("template", "driver"),
    [("generic", "psycopg2"), pytest.param("async", "psycopg_async", marks=pytest.mark.slow)],
)
def test_an_edited_env_py_that_is_changed_as_init_says(
    shop: Shop, init: Init, template: str, driver: str
) -> None:
    shop.alembic_init(template)
    shop.set_url(driver)
    own = f"# Ask Ada.\nfrom {shop.package}.models import Base\ntarget_metadata = Base.metadata"
    text = shop.env.read_text().replace("target_metadata = None", own)
    shop.env.write_text(text)

    code, printed = init()

    assert code == 1, printed
    lines = [line.strip().partition("  #")[0] for line in printed.splitlines()]
    [imports] = [line for line in lines if line.startswith("from slipway")]
    [call] = [line for line in lines if "connect_args=" in line]
    [configure] = [line for line in lines if line.startswith("context.configure")]
    [migrate] = [line for line in lines if line.startswith("run_migrations(")]
    [errors] = [line for line in lines if line.startswith("with ")]
    name, _, argument = call.removesuffix(")").partition("(…, ")
    assert f" {name}(" in text
    text = text.replace("poolclass=pool.NullPool", f"poolclass=pool.NullPool, {argument}")
    text = re.sub(r"context\.configure\(\s*connection=[^)]*\)", configure, text)
    online = [*BEGIN.finditer(text)][-1]
    text = f"{text[: online.start()]}{online[1]}{migrate}\n{text[online.end() :]}"
    text = text.replace("else:\n    run", f"else:\n    {errors}\n        run")
    shop.env.write_text(f"{imports}\n{text}")
    code, printed = shop.history.run(
        ["revision", "--autogenerate", "-m", "orders"], ["upgrade", "head"], ["check"]
    )
    assert code == 0, printed
    assert "Applied" in printed
    assert init() == (0, "Nothing to do.\n")


def test_a_template_of_revisions_that_was_edited_stays(shop: Shop, init: Init) -> None:
    shop.alembic_init("generic")
    shop.write("migrations/script.py.mako", "edited")

    assert init()[0] == 0
    assert shop.files()["migrations/script.py.mako"] == "edited"


@pytest.mark.parametrize("template", ["generic", "pyproject"])
def test_a_history_becomes_the_baseline(shop: Shop, init: Init, template: str) -> None:
    shop.alembic_init(template)
    shop.set_url("psycopg")
    revision = (
        "from alembic import op\n\nrevision = 'abc'\ndown_revision = None\n\n"
        "def upgrade():\n    op.execute('DROP TABLE plans')\n\ndef downgrade():\n    pass\n"
    )
    shop.write("migrations/versions/abc.py", revision)

    code, printed = init()

    assert code == 0, printed
    assert "revision --autogenerate" not in printed
    assert main(["guard"]) == 0
    following = revision.replace("None", "'abc'").replace("n = 'abc'", "n = 'def'", 1)
    shop.write("migrations/versions/def.py", following)
    assert main(["guard"]) == 1


def test_several_heads_are_refused(shop: Shop, init: Init) -> None:
    shop.alembic_init("generic")
    for name in ("abc", "def"):
        shop.write(f"migrations/versions/{name}.py", f"revision, down_revision = '{name}', None\n")

    code, printed = init()

    assert code == 3
    assert "abc" in printed
    assert "def" in printed


def test_heads_do_not_matter_once_there_are_settings(shop: Shop, init: Init) -> None:
    shop.alembic_init("generic")
    init()
    for name in ("abc", "def"):
        shop.write(f"migrations/versions/{name}.py", f"revision, down_revision = '{name}', None\n")

    assert init() == (0, "Nothing to do.\n")


@pytest.mark.parametrize("wrong", ['postgresql = "new"', "nothing ="])
def test_settings_that_are_wrong_are_no_reason_to_begin_again(
    shop: Shop, init: Init, wrong: str
) -> None:
    alembic = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    shop.write("pyproject.toml", f"{alembic}\n[tool.slipway]\n{wrong}\n")
    before = shop.files()

    code, printed = init()

    assert code == 3
    assert "pyproject.toml" in printed
    assert shop.files() == before


SECOND = "from sqlalchemy import MetaData\n\nmetadata = MetaData()\nBase = 1\n"


def test_several_metadata(shop: Shop, init: Init) -> None:
    shop.write(f"{shop.package}/audit.py", SECOND)

    code, printed = init(f"{shop.package}.models:Base", f"{shop.package}.audit:metadata")

    assert code == 0, printed
    imports = (
        f"from {shop.package}.models import Base",
        f"from {shop.package}.audit import metadata",
    )
    assert shop.env.read_text() == short(shop, *imports, target="[Base.metadata, metadata]")


def test_metadata_of_the_same_name(shop: Shop, init: Init) -> None:
    shop.write(f"{shop.package}/audit.py", MODELS)

    code, printed = init(f"{shop.package}.models:Base", f"{shop.package}.audit:Base")

    assert code == 0, printed
    target = f"[{shop.package}.models.Base.metadata, {shop.package}.audit.Base.metadata]"
    imports = f"import {shop.package}.models", f"import {shop.package}.audit"
    assert shop.env.read_text() == short(shop, *imports, target=target)


WRONG = {
    "no module": ("nowhere.models:Base", "nowhere"),
    "no name": ("{package}.models:Nothing", "Nothing"),
    "no metadata": ("{package}.audit:Base", "MetaData"),
    "no colon": ("{package}.models", "MODULE:NAME"),
    "fails": ("{package}.fails:Base", "no settings"),
}


@pytest.mark.parametrize("case", WRONG)
def test_metadata_that_cannot_be_used_is_one_sentence(shop: Shop, init: Init, case: str) -> None:
    shop.alembic_init("generic")
    shop.write(f"{shop.package}/audit.py", SECOND)
    shop.write(f"{shop.package}/fails.py", "raise RuntimeError('no settings')")
    place, word = WRONG[case]
    before = shop.env.read_text()

    code, printed = init(place.format(package=shop.package))

    assert code == 3
    assert len(printed.splitlines()) == 1, printed
    assert word in printed
    assert shop.env.read_text() == before


@pytest.mark.parametrize("more", [None, MODELS])
def test_models_that_cannot_be_found_are_asked_for(
    shop: Shop, init: Init, more: str | None
) -> None:
    shop.alembic_init("generic")
    if more:
        shop.write(f"{shop.package}/other.py", more)
    else:
        shutil.rmtree(shop.folder / shop.package)

    code, printed = init()

    assert code == 3
    assert "slipway init" in printed
    assert ("other:Base" in printed) is bool(more)


def test_models_in_modules_of_their_own_are_imported_too(shop: Shop, init: Init) -> None:
    """Without them the metadata would be empty, and autogenerate would drop their tables."""
    base, _, model = MODELS.partition("class Order")
    model = f"from {shop.package}.db import Base\n{base.split('class')[0]}class Order{model}"
    shop.write(f"{shop.package}/models.py", "")
    shop.write(f"src/{shop.package}_unused/__init__.py", "")
    shop.write(f"{shop.package}/db.py", base)
    shop.write(f"{shop.package}/orders/models.py", model)
    shop.write("tests/models.py", MODELS)

    code, printed = init()

    assert code == 0, printed
    text = shop.env.read_text()
    assert f"from {shop.package}.db import Base\n" in text
    assert f"import {shop.package}.orders.models  # noqa" in text
    shop.set_url("psycopg")
    code, printed = shop.history.run(["revision", "--autogenerate", "-m", "orders"])
    assert code == 0, printed
    [revision] = (shop.folder / "migrations/versions").glob("*.py")
    assert "create_table" in revision.read_text()
