"""What the README of the library says is done to the letter, in three projects of adopters.

Each begins as `alembic init` leaves it, with a history that is applied and released: one on a sync
driver with alembic.ini, one on an async driver with pyproject.toml and uv, one on psycopg2 with the
oldest SQLAlchemy series and SQLModel.
"""

import fnmatch
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from packages.slipway.tests.processes import environment, git, run
from packages.slipway.tests.rows import ROOT
from packages.vendored_wheel import build

README = ROOT / "packages/slipway/README.md"
EXTRAS = "devdb,rehearse"
URL_PLACEHOLDER = "driver://user:pass@localhost/dbname"

SQLALCHEMY_MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
"""
SQLMODEL_MODELS = """
from sqlmodel import Field, SQLModel


class Order(SQLModel, table=True):
    __tablename__ = "orders"

    id: int | None = Field(default=None, primary_key=True)
    email: str
"""
# The change of the README: an index on a column that is there.
SQLALCHEMY_CHANGE = ("email: Mapped[str]\n", "email: Mapped[str] = mapped_column(index=True)\n")
SQLMODEL_CHANGE = ("email: str\n", "email: str = Field(index=True)\n")


@dataclass(frozen=True)
class Adopter:
    """A project as `alembic init` leaves it."""

    name: str
    template: str
    driver: str
    packages: tuple[str, ...]
    models: str = SQLALCHEMY_MODELS
    change: tuple[str, str] = SQLALCHEMY_CHANGE
    metadata: str = "shop.models:Base"
    target: str = "from shop.models import Base\ntarget_metadata = Base.metadata"
    uses_uv: bool = False


ADOPTERS = [
    Adopter("sync", "generic", "psycopg", ("psycopg[binary]~=3.3",)),
    Adopter(
        "async",
        "pyproject_async",
        "asyncpg",
        ("asyncpg~=0.32.0", "sqlalchemy[asyncio]~=2.1.9"),
        uses_uv=True,
    ),
    Adopter(
        "sqlmodel",
        "generic",
        "psycopg2",
        ("psycopg2-binary~=2.9", "sqlalchemy~=2.0.40", "sqlmodel"),
        models=SQLMODEL_MODELS,
        change=SQLMODEL_CHANGE,
        metadata="shop.models:SQLModel",
        target="import shop.models\ntarget_metadata = shop.models.SQLModel.metadata",
    ),
]


@dataclass(frozen=True)
class Shop:
    folder: Path
    adopter: Adopter
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(*("sh", "-c", command), cwd=self.folder, check=check, variables=self.variables)

    def commit(self, message: str) -> None:
        git("add", "--all", cwd=self.folder)
        git("commit", "--quiet", "--message", message, cwd=self.folder)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text, text
        (self.folder / path).write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(params=ADOPTERS, ids=lambda adopter: adopter.name)
def shop(
    request: pytest.FixtureRequest, server: str, wheel: Path, tmp_path: Path
) -> Iterator[Shop]:
    """A project of its own, installed, with a released history of one revision."""
    adopter: Adopter = request.param
    folder = tmp_path / "shop"
    database = f"adopter_{adopter.name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}".encode())
    url = server.replace("/postgres?", f"/{database}?")
    (folder / "shop").mkdir(parents=True)
    (folder / "shop/__init__.py").write_text("")
    (folder / "shop/models.py").write_text(adopter.models)
    (folder / ".gitignore").write_text(".venv/\n__pycache__/\n.devdb/\n")
    path = f"{folder / '.venv/bin'}:{environment({})['PATH']}"
    shop = Shop(folder, adopter, {"PATH": path, "UV_PYTHON": "3.11"})
    shop.run("git init --quiet --initial-branch main")
    if adopter.uses_uv:
        shop.run("uv init --quiet --bare --name shop --python '>=3.11'")
        shop.run("uv add --quiet alembic " + " ".join(f"'{name}'" for name in adopter.packages))
    else:
        packages = ["alembic", *adopter.packages]
        (folder / "requirements.txt").write_text("".join(f"{name}\n" for name in packages))
        shop.run("uv venv --quiet && uv pip install --quiet --requirement requirements.txt")
    shop.run(f"alembic init --template {adopter.template} migrations")
    shop.edit("migrations/env.py", "target_metadata = None", adopter.target)
    if adopter.metadata.endswith("SQLModel"):
        shop.edit("migrations/script.py.mako", "import sqlalchemy as sa", IMPORTS)
    shop.edit(
        "alembic.ini",
        URL_PLACEHOLDER,
        url.replace("postgresql:", f"postgresql+{adopter.driver}:").replace("%", "%%"),
    )
    shop.run("alembic revision --autogenerate --message 'create orders'")
    shop.run("alembic upgrade head")
    shop.commit("first release")
    yield shop
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())


IMPORTS = "import sqlalchemy as sa\nimport sqlmodel"


# ---- What the README shows


def section(title: str) -> str:
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert rest, f"the README has no section {title}"
    return rest.partition("\n## ")[0]


def consoles(text: str) -> list[tuple[str, list[str]]]:
    """The commands in the console blocks, each with the output shown below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def install(shop: Shop, command: str, wheel: Path) -> None:
    """Install the wheel of this working tree, where the README names the package."""
    package = f"alembic-slipway[{EXTRAS}]"
    assert package in command
    requirement = f"{package} @ {wheel.as_uri().replace('+', '%2B')}"
    if shop.adopter.uses_uv:
        shop.run(f"uv add --quiet '{requirement}'")
        return
    with (shop.folder / "requirements.txt").open("a") as requirements:
        requirements.write(f"{requirement}\n")
    shop.run("uv pip install --quiet --requirement requirements.txt")


def follow(shop: Shop, text: str, wheel: Path) -> None:
    for block in re.findall(r"```(?:python|console)\n.*?```", text, re.DOTALL):
        if file := re.match(r"```python\n# (\S+)\n(.*)```", block, re.DOTALL):
            if not (shop.folder / file[1]).exists():
                write(shop, file[1], file[2])
        else:
            type_in(shop, block, wheel)


def write(shop: Shop, path: str, code: str) -> None:
    head = shop.run("alembic heads").stdout.split()[0]
    (shop.folder / path).parent.mkdir(exist_ok=True)
    (shop.folder / path).write_text(code.replace("PREVIOUS", head))


def type_in(shop: Shop, block: str, wheel: Path) -> None:
    for command, shown in consoles(block):
        if command.startswith("pip install"):
            install(shop, command, wheel)
            continue
        done = shop.run(command.replace("shop.models:Base", shop.adopter.metadata), check=False)
        refused = any("error[" in line for line in shown)
        assert done.returncode == refused, (command, done.stdout + done.stderr)
        printed = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
        if shop.adopter.name == "sync":  # the README shows this one
            for line in shown:
                pattern = line.replace("[", "[[]").replace("…", "*")
                assert fnmatch.filter(printed, pattern), (line, printed)


# ---- What adopters do


@pytest.mark.slow
def test_an_adopter_gets_from_alembic_init_to_a_change_that_was_tried(
    shop: Shop, wheel: Path
) -> None:
    follow(shop, section("Start"), wheel)
    env = (shop.folder / "migrations/env.py").read_text()
    assert len(env.splitlines()) <= 8
    if shop.adopter.metadata.endswith("Base"):
        assert f"```python\n# migrations/env.py\n{env}```" in section("Start")
    shop.commit("adopt Slipway")
    shop.run("git switch --quiet --create index-orders")
    shop.edit("shop/models.py", *shop.adopter.change)
    # `overlap` compares commits, so the README commits before it.
    follow(shop, section("Your first change"), wheel)

    shop.run("alembic check")
    commands = section("What the commands say")
    refused, _, rest = commands.partition("\nRows are changed")
    follow(shop, refused, wheel)
    (shop.folder / "migrations/versions/0002_note.py").unlink()
    follow(shop, rest, wheel)


@pytest.mark.slow
def test_five_runners_at_once_apply_each_revision_once(shop: Shop, wheel: Path) -> None:
    follow(shop, section("Start"), wheel)
    shop.edit("shop/models.py", *shop.adopter.change)
    shop.run("alembic revision --autogenerate --message 'index orders by email'")

    started = [
        subprocess.Popen(
            ["alembic", "upgrade", "head"],
            executable=shop.folder / ".venv/bin/alembic",
            cwd=shop.folder,
            env=environment(shop.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(5)
    ]
    printed = [runner.communicate(timeout=300)[0] for runner in started]

    assert [runner.returncode for runner in started] == [0] * 5, printed
    assert sum(text.count("Running upgrade") for text in printed) == 1, printed


def test_the_supported_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "packages/slipway/pyproject.toml").read_text())["project"]
    text = section("Supported versions")

    for requirement in project["dependencies"]:
        name, _, floor = requirement.partition(">=")
        assert re.search(rf"(?i){name}[^\n]*{re.escape(floor)}", text), requirement


def test_every_command_has_its_help_and_a_section() -> None:
    from slipway.__main__ import COMMANDS

    text = README.read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"slipway {name}" in text, name
