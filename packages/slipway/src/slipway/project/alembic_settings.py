"""Where Alembic looks for env.py and revisions, read as Alembic 1.16 to 1.20 reads it.

The ini file wins over pyproject.toml for each key. Alembic itself is not imported: that would take
longer than most of what the guard does.
"""

import os
import re
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}
# How Alembic splits where no separator is set.
LOCATIONS = r", *|(?: +)"
SYS_PATH = r", *|(?: +)|\:"


@dataclass(frozen=True)
class AlembicSettings:
    """Alembic's settings for a project.

    Attributes:
        root: Folder that relative paths start from.
        ini: Parsed ini file.
        section: Alembic's section of it.
        table: `[tool.alembic]` of pyproject.toml.
        here: Folder of pyproject.toml.

    Raises:
        ValueError: A setting cannot be read; raised by the properties.
    """

    root: Path
    ini: ConfigParser
    section: str
    table: Mapping[str, Any]
    here: Path

    @cached_property
    def scripts(self) -> Path:
        """Folder of env.py."""
        location = self._ini("script_location") or self._toml("script_location")
        if not isinstance(location, str):
            raise ValueError("Alembic's configuration has no script_location")
        return self._folder(location)

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """Folders with revisions."""
        separators = ("path_separator", "version_path_separator")
        listed = self._list("version_locations", LOCATIONS, *separators)
        return tuple(map(self._folder, listed)) or (self.scripts / "versions",)

    @cached_property
    def prepended(self) -> tuple[str, ...]:
        """What Alembic puts in front of `sys.path`."""
        listed = self._list("prepend_sys_path", SYS_PATH, "path_separator")
        return tuple(os.path.normpath(self.root / path) for path in listed)

    @cached_property
    def recursive(self) -> bool:
        """Whether revisions are looked for in folders below, too."""
        value = self._ini("recursive_version_locations")
        if value is not None:
            return value == "true"
        return bool(self.table.get("recursive_version_locations", False))

    def _list(self, name: str, legacy: str, *separators: str) -> list[str]:
        if value := self._ini(name):
            chosen = next(filter(None, map(self._ini, separators)), None)
            if chosen is not None and chosen not in SEPARATORS:
                raise ValueError(f"path_separator {chosen!r} is not one of {', '.join(SEPARATORS)}")
            parts = value.split(SEPARATORS[chosen]) if chosen else re.split(legacy, value)
            return [part.strip() for part in parts if part.strip()]
        listed = self._toml(name) or []
        if not isinstance(listed, list):
            raise ValueError(f"[tool.alembic] {name} must be a list of strings")
        return listed

    def _ini(self, name: str) -> str | None:
        return self.ini.get(self.section, name, fallback=None)

    def _toml(self, name: str) -> Any:
        """A value with `%(here)s` filled in."""
        here = {"here": self.here.as_posix()}
        value = self.table.get(name)
        try:
            if isinstance(value, list):
                return [item % here for item in value]
            return value % here if isinstance(value, str) else value
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"[tool.alembic] {name}: {error}") from error

    def _folder(self, location: str) -> Path:
        """A folder by its path, or by `package:path`."""
        package, colon, inside = location.partition(":")
        if not colon or Path(location).is_absolute():
            return Path(os.path.normpath(self.root / location))
        for place in (*self.prepended, *sys.path, str(self.root)):
            folder = Path(place, *package.split("."))
            if folder.is_dir():
                return folder.joinpath(*inside.split(":"))
        raise ValueError(f"{location}: no package {package} in prepend_sys_path or on sys.path")
