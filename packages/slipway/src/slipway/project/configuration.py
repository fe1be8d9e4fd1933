"""What a project says of itself: `[tool.slipway]` and Alembic's own configuration."""

import configparser
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

SEVERITIES = ("error", "warning", "info", "off")


class ProjectError(Exception):
    """A command could not run; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """`root` is the project's folder, `folders` are those with revisions.

    `severities` are those that differ from a rule's own. Of `small_tables`, locks do not matter.
    `baseline` is the newest revision that is not judged. `scratch_server` names what makes a server
    to try things on, as entry points are named: `slipway.devdb:temporary_server`.
    """

    root: Path
    folders: tuple[Path, ...]
    recursive: bool = False
    search_path: tuple[str, ...] = ()
    severities: Mapping[str, str] = field(default_factory=dict)
    small_tables: frozenset[str] = frozenset()
    postgresql: int = 15
    baseline: str = ""
    base_branch: str = ""
    scratch_server: str = ""

    @property
    def applications(self) -> frozenset[str]:
        """The packages beside the migrations, which are the application's."""
        others = {"slipway", *(folder.parent.name for folder in self.folders)}
        beside = {folder.parent.parent for folder in self.folders}
        found = {init.parent.name for folder in beside for init in folder.glob("*/__init__.py")}
        return frozenset((found | {"app"}) - others)


def load(folder: Path, rules: frozenset[str]) -> Configuration:
    """Read the configuration of the project that `folder` is in.

    Args:
        rules: the names that severities may be given for.

    Raises:
        ProjectError: there is no project, or something in its configuration is wrong.
    """
    for root in (folder, *folder.parents):
        tools = _toml(root / "pyproject.toml").get("tool", {})
        if "alembic" in tools or (root / "alembic.ini").is_file():
            alembic = {**_ini(root / "alembic.ini"), **tools.get("alembic", {})}
            folders, search_path = _places(root, alembic)
            return Configuration(
                root=root,
                folders=folders,
                recursive=str(alembic.get("recursive_version_locations")).lower() == "true",
                search_path=search_path,
                **_own(tools.get("slipway", {}), rules),
            )
    raise ProjectError(
        f"{folder}: neither a pyproject.toml with [tool.alembic] nor an alembic.ini here or above"
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path}: {error}") from error


def _ini(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser({"here": str(path.parent)})
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser["alembic"]) if "alembic" in parser else {}
    except (configparser.Error, OSError, ValueError) as error:
        raise ProjectError(f"{path}: {' '.join(str(error).split())}") from error


def _places(root: Path, alembic: Mapping[str, Any]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Where revisions are, and the `sys.path` they are run with."""

    def paths(value: Any) -> list[Path]:
        listed = value if isinstance(value, list) else str(value or "").split()
        return [root / str(item).replace("%(here)s", str(root)) for item in listed]

    scripts = paths(alembic.get("script_location"))[:1]
    if not scripts:
        raise ProjectError(f"{root}: Alembic's configuration has no script_location")
    folders = paths(alembic.get("version_locations")) or [scripts[0] / "versions"]
    # As `alembic` has it, and the project's folders last: it may not be installed.
    before = [str(path) for path in paths(alembic.get("prepend_sys_path"))]
    found = dict.fromkeys([*before, *sys.path, str(root), str(scripts[0].parent)])
    return tuple(Path(os.path.normpath(path)) for path in folders), tuple(filter(None, found))


def _own(table: Any, rules: frozenset[str]) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ProjectError("pyproject.toml: [tool.slipway] must be a table")
    known: dict[str, type] = {
        "severities": dict,
        "small-tables": list,
        "postgresql": int,
        "baseline": str,
        "base-branch": str,
        "scratch-server": str,
    }
    for key, value in table.items():
        if key not in known:
            raise ProjectError(f"pyproject.toml: [tool.slipway] {_unknown('setting', key, known)}")
        if not isinstance(value, known[key]) or isinstance(value, bool):
            kind = {dict: "a table", list: "a list", int: "a number", str: "a string"}[known[key]]
            raise ProjectError(f"pyproject.toml: [tool.slipway] {key} must be {kind}")
    for rule, severity in table.get("severities", {}).items():
        place = "pyproject.toml: [tool.slipway.severities]"
        if rule not in rules:
            raise ProjectError(f"{place} {_unknown('rule', rule, rules)}")
        if severity not in SEVERITIES:
            raise ProjectError(f"{place} {rule} must be one of {', '.join(SEVERITIES)}")
    tables = table.get("small-tables", [])
    if not all(isinstance(name, str) for name in tables):
        raise ProjectError("pyproject.toml: [tool.slipway] small-tables must be a list of names")
    names = {key.replace("-", "_"): value for key, value in table.items()}
    return {**names, "small_tables": frozenset(name.removeprefix("public.") for name in tables)}


def _unknown(kind: str, name: str, known: Any) -> str:
    close = get_close_matches(name, known, 1)
    return f"has no {kind} {name!r}" + (f", did you mean {close[0]!r}?" if close else "")
