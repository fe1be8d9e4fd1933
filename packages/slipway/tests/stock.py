"""A project as `alembic init` makes it: env.py is Alembic's own and knows nothing of Slipway."""

import io
from dataclasses import dataclass

from alembic import command
from alembic.config import Config

from packages.slipway.tests.history import History

# All that an adopter writes instead of Alembic's env.py.
ADOPTED = """
from slipway.env import configure_logging, run
from shop import metadata

configure_logging()
run(metadata)
"""

# By driver and file of configuration.
TEMPLATES = {
    (False, "alembic.ini"): "generic",
    (False, "pyproject.toml"): "pyproject",
    (True, "alembic.ini"): "async",
    (True, "pyproject.toml"): "pyproject_async",
}


@dataclass(frozen=True)
class StockProject(History):
    """A history of revisions in such a project; `models` is Python code that makes `metadata`."""

    driver: str = "psycopg"
    file: str = "alembic.ini"
    models: str = ""

    @property
    def _url(self) -> str:
        return self.url.replace("postgresql://", f"postgresql+{self.driver}://")

    def add(self, upgrade: str, downgrade: str = "pass") -> str:
        if not (self.folder / "migrations").exists():
            self.configure()
        return super().add(upgrade, downgrade)

    def configure(self) -> None:
        """Initialize the project, and change what `alembic init` says must be changed."""
        ini, toml = self.folder / "alembic.ini", self.folder / "pyproject.toml"
        toml.write_text('[project]\nname = "shop"\n')  # which most have
        config = Config(str(ini), toml_file=str(toml), stdout=io.StringIO())
        template = TEMPLATES[self.driver in ("asyncpg", "psycopg_async"), self.file]
        command.init(config, str(self.folder / "migrations"), template)
        url = self._url.replace("%", "%%")
        ini.write_text(ini.read_text().replace("driver://user:pass@localhost/dbname", url))
        if self.models:
            (self.folder / "shop.py").write_text(self.models)
            env = self.folder / "migrations/env.py"
            target = "from shop import metadata\n\ntarget_metadata = metadata"
            env.write_text(env.read_text().replace("target_metadata = None", target))

    def adopt(self) -> None:
        """Replace env.py by that of `slipway.env`."""
        (self.folder / "migrations/env.py").write_text(ADOPTED)
