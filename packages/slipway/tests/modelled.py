"""A history whose schema comes from models, in each form that a project may have."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

import alembic
import psycopg

import slipway.init
from packages.slipway.tests.history import ENV, History
from packages.slipway.tests.rows import HEADER, base
from slipway.devdb import libpq_environment
from slipway.devdb.server import find_binaries

TEMPLATES = Path(alembic.__file__).parent / "templates"
STOCK = TEMPLATES / "async"
OURS = Path(slipway.init.__file__).with_name("script.py.mako")

FILE_NAMES = "%%(year)d%%(month).2d%%(day).2d_%%(hour).2d%%(minute).2d_%%(rev)s_%%(slug)s"
CONFIGURATIONS = {
    "pyproject.toml": f"""
[tool.alembic]
script_location = "%(here)s/migrations"
file_template = "{FILE_NAMES}"
truncate_slug_length = "80"  # Alembic 1.16.0 refuses a number

[tool.slipway]
postgresql = 18
""",
    "alembic.ini": f"""
[alembic]
script_location = %(here)s/migrations
file_template = {FILE_NAMES}
truncate_slug_length = 80

[slipway]
postgresql = 18
""",
}


@dataclass(frozen=True)
class Form:
    """What differs between projects, as far as autogenerate and the runner see it.

    Attributes:
        file: The one with the configuration.
        template: A `script.py.mako`.
        convention: Whether the models have a naming convention.
    """

    driver: str = "asyncpg"
    file: str = "pyproject.toml"
    template: Path = OURS
    convention: bool = True

    def __str__(self) -> str:
        template = "ours" if self.template == OURS else "stock"
        convention = "convention" if self.convention else "no-convention"
        return f"{self.driver}-{self.file}-{template}-{convention}"


STOCK_SCRIPT = TEMPLATES / "generic/script.py.mako"
# Each pair of properties is in one of them.
FORMS = (
    Form(),
    Form("asyncpg", "alembic.ini", STOCK_SCRIPT, convention=False),
    Form("psycopg", "pyproject.toml", STOCK_SCRIPT, convention=True),
    Form("psycopg", "alembic.ini", OURS, convention=False),
    Form("psycopg2", "pyproject.toml", OURS, convention=False),
    Form("psycopg2", "alembic.ini", STOCK_SCRIPT, convention=True),
)


@dataclass(frozen=True)
class ModelledHistory(History):
    """`stock`: with Alembic's own async template instead of a form of ours."""

    form: Form = FORMS[0]
    stock: bool = False

    @property
    def _url(self) -> str:
        return self.url.replace("postgresql://", f"postgresql+{self.form.driver}://")

    def models(self, source: str) -> None:
        """Let these be the models from now on."""
        if not (self.folder / "app").exists():
            self.configure()
        models = self.folder / "app/models/__init__.py"
        models.write_text(HEADER + source)
        # What was compiled from models of the same second and size would be taken for these.
        Path(cache_from_source(str(models))).unlink(missing_ok=True)

    def generate(self, message: str) -> list[Path]:
        """Write what the models ask for; return the new files in the order of their chain."""
        before = self._chain()
        code, printed = self.alembic("revision", "--autogenerate", "-m", message)
        assert code == 0, printed
        return [path for path in self._chain() if path not in before]

    def downgrade(self, target: str) -> str:
        code, printed = self.alembic("downgrade", target)
        assert code == 0, printed
        return printed

    def check(self) -> str:
        code, printed = self.alembic("check")
        assert code == 0, printed
        return printed

    def schema(self) -> set[str]:
        return schema(self.url)

    def configure(self) -> None:
        """Write a folder like that of a project: an application with models, and its migrations."""
        (self.folder / "app/models").mkdir(parents=True)
        (self.folder / "app/__init__.py").touch()
        (self.folder / "app/models/__init__.py").write_text(HEADER)
        (self.folder / "app/base.py").write_text(base(convention=self.form.convention))
        self._versions.mkdir(parents=True, exist_ok=True)
        if self.stock:
            configure_stock(self.folder, "migrations", self._url, "app.base")
            return
        shutil.copy(self.form.template, self.folder / "migrations")
        env = ENV.replace("run(None", "from app.models import Base\nrun(Base.metadata")
        (self.folder / "migrations/env.py").write_text(env)
        (self.folder / self.form.file).write_text(CONFIGURATIONS[self.form.file])

    def _chain(self) -> list[Path]:
        followers = {}
        for path in self._versions.glob("*.py"):
            text = path.read_text()
            followers[_constant(text, "down_revision")] = (path, _constant(text, "revision"))
        chain, revision = [], None
        while revision in followers:
            path, revision = followers[revision]
            chain.append(path)
        assert len(chain) == len(followers), followers
        return chain


def configure_stock(folder: Path, migrations: str, url: str, base: str) -> None:
    """Let Alembic work in a folder with its own template, which knows the models and the URL.

    Args:
        base: the module with the base of the models.
    """
    shutil.copy(STOCK / "script.py.mako", folder / migrations)
    env = (STOCK / "env.py").read_text()
    target = f"import app.models\nfrom {base} import Base\ntarget_metadata = Base.metadata"
    (folder / migrations / "env.py").write_text(env.replace("target_metadata = None", target))
    ini = (STOCK / "alembic.ini.mako").read_text()
    ini = ini.replace("${script_location}", f"%(here)s/{migrations}")
    ini = ini.replace("driver://user:pass@localhost/dbname", url.replace("%", "%%"))
    (folder / "alembic.ini").write_text(ini)


def _constant(text: str, name: str) -> str | None:
    found = re.search(rf"(?m)^{name}\b[^=]*= (.+)$", text)
    assert found, text
    value: str | None = ast.literal_eval(found[1])
    return value


# ---- The schema of a database


def schema(url: str) -> set[str]:
    """Describe a database as pg_dump does, in parts that do not depend on the order of making.

    Each column and constraint of a table is a part of its own.
    """
    binaries = find_binaries()
    assert binaries
    dumped = subprocess.run(
        [
            binaries / "pg_dump",
            *("--schema-only", "--no-owner", "--no-privileges", "--exclude-table=alembic_version"),
        ],
        env={**os.environ, **libpq_environment(url)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with psycopg.connect(url) as connection:
        invalid = connection.execute(INVALID_INDEXES).fetchall()
    # pg_dump leaves out an index that a failed build has left behind.
    return {*_parts(dumped), *(f"invalid index {name}" for (name,) in invalid)}


INVALID_INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


CHECK = re.compile(r"ALTER TABLE (.+)\n +ADD (CONSTRAINT .+ CHECK .+)", re.DOTALL)


def _parts(dumped: str) -> Iterator[str]:
    lines = (line for line in dumped.splitlines() if not line.startswith(("--", "\\")))
    for statement in "\n".join(lines).split(";\n"):
        # A check that is NOT VALID is not written into its table.
        if check := CHECK.fullmatch(statement.strip()):
            yield f"CREATE TABLE {check[1]} : {check[2]}"
            continue
        head, _, body = statement.strip().partition("(\n")
        if not head.startswith("CREATE TABLE"):
            yield statement.strip()
            continue
        yield head
        for line in body.removesuffix(")").splitlines():
            # The name of a NOT NULL is PostgreSQL's own, from when the column got it.
            yield f"{head}: {re.sub(r'CONSTRAINT [^ ]+ NOT NULL', 'NOT NULL', line.strip(' ,'))}"
