"""Settings of a project: Alembic's own, and those of this library.

The library's settings are `[tool.slipway]` of pyproject.toml, or the same keys in `[slipway]` of
alembic.ini, where a list has one item per line and a table is a section of its own:

    [slipway]
    postgresql = 16
    small-tables =
        plans
        billing.currencies

    [slipway.severities]
    trigger = off

    [slipway.overlap]
    install =
        python -m venv .venv
        .venv/bin/pip install --quiet --editable .
    environment = .venv

Either file or both may configure Alembic, but only one of them this library.
"""

from __future__ import annotations

import argparse
import configparser
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.project.alembic_settings import AlembicSettings

if TYPE_CHECKING:
    from alembic.config import Config

SEVERITIES = ("error", "warning", "info", "off")

SETTINGS: Mapping[str, type] = {
    "applications": list,
    "backfills": str,
    "base-branch": str,
    "baseline": list,
    "documentation": str,
    "overlap": dict,
    "postgresql": int,
    "scratch-server": str,
    "severities": dict,
    "small-tables": list,
}
OVERLAP_SETTINGS: Mapping[str, type] = {"environment": str, "install": list, "test": str}
KINDS = {dict: "a table", list: "a list of strings", int: "a number", str: "a string"}


class ProjectError(Exception):
    """A command could not run; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class OverlapSettings:
    """How to install and test the running version in a checkout of it.

    Attributes:
        install: Command lines that install it, run one after the other in the project's folder
            of the checkout.
        environment: Folder of the virtual environment that they make, relative to that folder.
        test: Command line that runs its tests.
    """

    install: tuple[str, ...] = ()
    environment: str = ""
    test: str = ""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Settings of a project.

    Attributes:
        root: Folder that Alembic runs in.
        folders: Folders with revisions.
        scripts: Folder of env.py.
        ini: Alembic's ini file, which may not exist.
        toml: The pyproject.toml, which may not exist.
        section: Alembic's section of the ini file.
        recursive: Whether revisions are looked for in folders below, too.
        prepended: What Alembic puts in front of `sys.path`.
        search_path: `sys.path` for env.py and revisions.
        severities: Severities by rule, where they differ from the rule's own.
        small_tables: Tables so small that locks on them do not matter.
        postgresql: Major version of the production server.
        baseline: Revisions that are not judged, nor any before them.
        base_branch: Branch that revisions are merged into.
        scratch_server: What starts a server to try things on, written as entry points are:
            `slipway.devdb:temporary_server`.
        applications: Top-level packages of the application.
        documentation: URL or path of the project's guide to migrations; hints refer to it.
        backfills: Folder with backfills.
    """

    root: Path
    folders: tuple[Path, ...]
    scripts: Path = Path()
    ini: Path = Path("alembic.ini")
    toml: Path = Path("pyproject.toml")
    section: str = "alembic"
    recursive: bool = False
    prepended: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    severities: Mapping[str, str] = field(default_factory=dict)
    small_tables: frozenset[str] = frozenset()
    postgresql: int = 15
    baseline: tuple[str, ...] = ()
    base_branch: str = ""
    scratch_server: str = ""
    applications: frozenset[str] = frozenset()
    documentation: str = ""
    backfills: Path = Path("backfills")
    overlap: OverlapSettings = OverlapSettings()

    @property
    def arguments(self) -> list[str]:
        """The options of `add_arguments` that lead a child process to the same configuration."""
        files = [str(file) for file in (self.toml, self.ini) if file.is_file()]
        return [*(f"--config={file}" for file in files), f"--name={self.section}"]


def add_arguments(parser: argparse.ArgumentParser, **options: Any) -> None:
    """Add Alembic's options `--config` and `--name`, which `from_arguments` reads."""
    parser.add_argument(
        *("-c", "--config"),
        action="append",
        dest="config_files",
        metavar="FILE",
        help="Alembic's configuration, as for `alembic`; default: ALEMBIC_CONFIG, or alembic.ini "
        "and pyproject.toml here or above",
        **options,
    )
    parser.add_argument(
        *("-n", "--name"),
        dest="config_section",
        metavar="SECTION",
        help="Alembic's section of the ini file; default: alembic",
        **options,
    )


def from_arguments(arguments: argparse.Namespace) -> Configuration:
    """Load the configuration that the options of `add_arguments` name.

    Raises:
        ProjectError: There is no project, or something in its configuration is wrong.
    """
    section = arguments.config_section or "alembic"
    return load(Path.cwd(), arguments.config_files or (), section)


def load(folder: Path, files: Sequence[str] = (), section: str = "alembic") -> Configuration:
    """Load the configuration of the project that `folder` is in.

    Args:
        folder: Where to begin: the project is this folder or one above it. With `files`, or
            with ALEMBIC_CONFIG in the environment, it is this folder.
        files: An ini file, a pyproject.toml, or both.
        section: Alembic's section of the ini file.

    Raises:
        ProjectError: There is no project, or something in its configuration is wrong.
    """
    if named := _named(folder, files):
        return _load(folder, *named, section)
    for root in (folder, *folder.parents):
        if (root / "alembic.ini").is_file() or "alembic" in _tools(root / "pyproject.toml"):
            return _load(root, root / "alembic.ini", root / "pyproject.toml", section)
    raise ProjectError(
        f"{folder}: neither a pyproject.toml with [tool.alembic] nor an alembic.ini here or above; "
        "-c FILE names another"
    )


def alembic_config(configuration: Configuration) -> Config:
    """Make Alembic's `Config` of this configuration, for any current folder."""
    from alembic.config import Config  # takes 0.3 s, and the guard does not need it

    ini, toml = str(configuration.ini), str(configuration.toml)
    config = Config(ini, toml_file=toml, ini_section=configuration.section)
    # Relative paths mean the project's folder, which need not be the current one.
    places = {
        "script_location": [configuration.scripts],
        "version_locations": configuration.folders,
        "prepend_sys_path": configuration.prepended,
    }
    for name, paths in places.items():
        if paths:
            value = "\n".join(map(str, paths))
            config.set_main_option(name, value.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


# ---- Files


def _named(folder: Path, files: Sequence[str]) -> tuple[Path, Path] | None:
    """The ini file and the pyproject.toml, if one is named, as `alembic` takes them."""
    found: dict[bool, str] = {}
    for file in files:
        is_toml = Path(file).name == "pyproject.toml"
        if is_toml in found:
            raise ProjectError(f"-c {file}: only one {'pyproject.toml' if is_toml else 'ini file'}")
        found[is_toml] = file
    if usual := os.environ.get("ALEMBIC_CONFIG"):
        found.setdefault(Path(usual).name == "pyproject.toml", usual)
    for file in found.values():
        if not (folder / file).is_file():
            raise ProjectError(f"{file}: no such file")
    if not found:
        return None
    return folder / found.get(False, "alembic.ini"), folder / found.get(True, "pyproject.toml")


def _tools(path: Path) -> dict[str, Any]:
    """The `[tool]` table of a pyproject.toml."""
    try:
        tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path}: {error}") from error
    return tools if isinstance(tools, dict) else {}


def _load(root: Path, ini: Path, toml: Path, section: str) -> Configuration:
    tools, parser = _tools(toml), _parser(ini)
    table = tools.get("alembic", {})
    if not isinstance(table, dict):
        raise ProjectError(f"{toml}: [tool.alembic] must be a table")
    try:
        alembic = AlembicSettings(root, parser, section, table, toml.absolute().parent)
        scripts, folders, prepended = alembic.scripts, alembic.folders, alembic.prepended
        recursive = alembic.recursive
        settings = _settings(parser, ini, tools, toml)
    except (configparser.Error, ValueError) as error:
        raise ProjectError(f"{root}: {' '.join(str(error).split())}") from error
    # As `alembic` has it, and the project's folders last: it may not be installed.
    search_path = dict.fromkeys([*prepended, *sys.path, str(root), str(scripts.parent)])
    guessed: dict[str, Any] = {
        "applications": _packages([*prepended, str(root), str(root / "src")], scripts, folders),
        "backfills": scripts / "backfills",
    }
    return Configuration(
        root=root,
        ini=ini.absolute(),
        toml=toml.absolute(),
        section=section,
        scripts=scripts,
        folders=folders,
        recursive=recursive,
        prepended=prepended,
        search_path=tuple(filter(None, search_path)),
        **{**guessed, **settings},
    )


def _parser(ini: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser({"here": ini.absolute().parent.as_posix()})
    try:
        parser.read(ini, encoding="utf-8")
    except (configparser.Error, OSError, ValueError) as error:
        raise ProjectError(f"{ini}: {' '.join(str(error).split())}") from error
    return parser


def _packages(roots: Iterable[str], scripts: Path, folders: Sequence[Path]) -> frozenset[str]:
    """The top-level packages of the project, but for the one that only holds migrations."""
    top = scripts
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    migrations = {scripts, *folders, *(folder.parent for folder in folders)}
    found = {
        init.parent
        for root in {*map(Path, roots), top.parent}
        for init in root.glob("*/__init__.py")
    }
    return frozenset(folder.name for folder in found - migrations) - {"slipway"}


# ---- The library's settings


def _settings(
    parser: configparser.ConfigParser, ini: Path, tools: Mapping[str, Any], toml: Path
) -> dict[str, Any]:
    """The settings, as arguments of `Configuration`."""
    sections = [name for name in parser.sections() if name.partition(".")[0] == "slipway"]
    if sections and "slipway" in tools:
        raise ProjectError(f"both {toml} and {ini} have settings for slipway: keep them in one")
    file, title = (ini, "[slipway{}]") if sections else (toml, "[tool.slipway{}]")
    given = _from_ini(parser, sections) if sections else tools.get("slipway", {})
    place = f"{file}: {title}"
    if isinstance(given, dict) and isinstance(given.get("baseline"), str):
        given = {**given, "baseline": given["baseline"].split()}  # mostly it is one
    table = _checked(given, SETTINGS, place, "")
    overlap = _checked(table.pop("overlap", {}), OVERLAP_SETTINGS, place, ".overlap")
    for rule, severity in table.get("severities", {}).items():
        if severity not in SEVERITIES:
            where = place.format(".severities")
            raise ProjectError(f"{where} {rule} must be one of {', '.join(SEVERITIES)}")
    found = {key.replace("-", "_"): value for key, value in table.items()}
    if overlap:
        overlap["install"] = tuple(overlap.get("install", ()))
        found["overlap"] = OverlapSettings(**overlap)
    if "backfills" in found:
        found["backfills"] = file.absolute().parent / found["backfills"]
    if "baseline" in found:
        found["baseline"] = tuple(found["baseline"])
    if "applications" in found:
        found["applications"] = frozenset(found["applications"])
    if "small_tables" in found:
        names = found["small_tables"]
        found["small_tables"] = frozenset(name.removeprefix("public.") for name in names)
    return found


def _from_ini(parser: configparser.ConfigParser, sections: Iterable[str]) -> dict[str, Any]:
    """The settings in the form that TOML gives them."""
    found: dict[str, Any] = {}
    for section in sections:
        name = section.partition(".")[2]
        kinds = OVERLAP_SETTINGS if name == "overlap" else {} if name else SETTINGS
        values = {
            key: _typed(value, kinds.get(key, str))
            for key, value in parser.items(section)
            if key not in parser.defaults()
        }
        found |= {name: values} if name else values
    return found


def _typed(value: str, kind: type) -> Any:
    if kind is list:
        return [line.strip() for line in value.splitlines() if line.strip()]
    return int(value) if kind is int and value.strip().isdecimal() else value.strip()


def _checked(table: Any, known: Mapping[str, type], place: str, name: str) -> dict[str, Any]:
    where = place.format(name)
    if not isinstance(table, dict):
        raise ProjectError(f"{where} must be a table")
    for key, value in table.items():
        if key not in known:
            raise ProjectError(f"{where} has no setting {unknown(key, known)}")
        is_strings = not isinstance(value, list) or all(isinstance(item, str) for item in value)
        if not isinstance(value, known[key]) or isinstance(value, bool) or not is_strings:
            raise ProjectError(f"{where} {key} must be {KINDS[known[key]]}")
    return dict(table)


def unknown(name: str, known: Iterable[str]) -> str:
    """Quote a name that is not known, and offer the one that may be meant."""
    close = get_close_matches(name, list(known), 1)
    return repr(name) + (f", did you mean {close[0]!r}?" if close else "")
