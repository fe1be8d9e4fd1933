"""Names that were chosen when the project was made; `app/project.toml` holds them."""

import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class Project:
    name: str
    slug: str
    description: str
    postgres_version: int

    @property
    def version(self) -> str:
        """The version in `pyproject.toml`, as it was when the project was installed."""
        return version(self.slug)


PROJECT = Project(**tomllib.loads(files("app").joinpath("project.toml").read_text("utf-8")))
