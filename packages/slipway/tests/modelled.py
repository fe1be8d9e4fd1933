"""A history whose schema comes from models, with the template's configuration or Alembic's own."""

import ast
import re
import shutil
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

import alembic

from packages.slipway.tests.history import History
from packages.slipway.tests.rows import HEADER, ROOT, SOURCE

STOCK = Path(alembic.__file__).parent / "templates/async"

# What the template's env.py, which is used as it is, takes from the application's settings.
CONFIG = """
import os
from types import SimpleNamespace

def load_settings():
    number = lambda name, default: float(os.environ.get(name, default))
    return SimpleNamespace(
        DATABASE_URL=os.environ["URL"],
        MIGRATION_DATABASE_URL=None,
        MIGRATION_LOCK_TIMEOUT=number("LOCK_TIMEOUT", 1),
        MIGRATION_STATEMENT_TIMEOUT=number("STATEMENT_TIMEOUT", 60),
        MIGRATION_IDLE_IN_TRANSACTION_TIMEOUT=60,
        MIGRATION_RUNNER_TIMEOUT=number("RUNNER_TIMEOUT", 60),
        MIGRATION_ATTEMPTS=int(number("ATTEMPTS", 10)),
        LOG_LEVEL="INFO",
        LOG_FORMAT="text",
    )
"""
LOGGING = """
import logging

def configure_logging(level, *_):
    logging.basicConfig(level=level, format="%(message)s")
"""


@dataclass(frozen=True)
class ModelledHistory(History):
    stock: bool = False

    def models(self, source: str) -> None:
        """Let these be the models from now on."""
        if not (self.folder / "app").exists():
            self._introduce()
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
        """What is in the database, in words that do not depend on the order of its making."""
        return {str(row[0]) for row in self.sql(SCHEMA)}

    def _introduce(self) -> None:
        """A folder like that of a project: an application with models, and its migrations."""
        for package in ("app", "app/core", "app/core/db", "app/models"):
            (self.folder / package).mkdir()
            (self.folder / package / "__init__.py").touch()
        shutil.copy(SOURCE / "app/core/db/base.py", self.folder / "app/core/db")
        (self.folder / "app/core/config.py").write_text(CONFIG)
        (self.folder / "app/core/logging.py").write_text(LOGGING)
        self._versions.mkdir(parents=True)
        if self.stock:
            configure_stock(self.folder, "migrations", self._url)
        else:
            self._configure()

    def _configure(self) -> None:
        for name in ("env.py", "script.py.mako"):
            shutil.copy(SOURCE / "migrations" / name, self.folder / "migrations")
        shutil.copy(ROOT / "template/ruff.toml", self.folder)
        project = (ROOT / "template/pyproject.toml.jinja").read_text()
        configuration = project[project.index("[tool.alembic]") :]
        configuration = configuration.replace("{{ postgres_version }}", "18")
        (self.folder / "pyproject.toml").write_text(configuration.replace("/src/", "/"))

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


def configure_stock(folder: Path, migrations: str, url: str) -> None:
    """Let Alembic work in a folder with its own template, which knows the models and the URL."""
    shutil.copy(STOCK / "script.py.mako", folder / migrations)
    env = (STOCK / "env.py").read_text()
    target = "import app.models\nfrom app.core.db.base import Base\ntarget_metadata = Base.metadata"
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


SCHEMA = """
WITH tables AS (
    SELECT c.oid, format('%s.%s', relnamespace::regnamespace, relname) AS name
    FROM pg_class AS c WHERE relkind = 'r' AND relname <> 'alembic_version'
    AND relnamespace::regnamespace::text IN ('public', 'audit')
)
SELECT format('table %s %s', name, obj_description(oid, 'pg_class')) FROM tables
UNION ALL
SELECT format('column %s.%s %s %s %s %s %s %s', name, attname, format_type(atttypid, atttypmod),
              CASE WHEN attnotnull THEN 'NOT NULL' END, pg_get_expr(adbin, adrelid),
              attidentity, attgenerated, col_description(tables.oid, attnum))
FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT format('constraint %s %s %s', name, CASE WHEN contype <> 'n' THEN conname END,
              pg_get_constraintdef(c.oid))
FROM tables JOIN pg_constraint AS c ON conrelid = tables.oid
UNION ALL
SELECT format('index %s %s', pg_get_indexdef(indexrelid), CASE WHEN indisvalid THEN 'valid' END)
FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL
SELECT format('enum %s %s', t.oid::regtype, array_agg(enumlabel ORDER BY enumsortorder))
FROM pg_type AS t JOIN pg_enum ON enumtypid = t.oid GROUP BY t.oid
"""
