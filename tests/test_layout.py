"""The code of a new project: little, and in rooms whose imports point one way."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

from tests.conftest import ROOT

SOURCE = ROOT / "template/src"
CORE = SOURCE / "app/core"


def room(module: str) -> str | None:
    """A folder of `app.core`, or a module beside them; None for what is elsewhere."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["app", "core"] and len(parts) > 2 else None


def imported(file: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_a_new_project_has_little_code_and_all_of_it_is_its_own() -> None:
    # A project has one of the two forms of the first revision.
    python = [file for file in SOURCE.rglob("*.py") if "for_postgresql_17" not in file.name]

    assert {file.relative_to(SOURCE).parts[0] for file in python} == {"app", "migrations"}
    assert sum(len(file.read_text("utf-8").splitlines()) for file in python) <= 2900


def test_no_room_of_core_imports_one_that_imports_it() -> None:
    arrows: defaultdict[str, set[str]] = defaultdict(set)
    for file in CORE.rglob("*.py"):
        here = file.relative_to(CORE).parts[0].removesuffix(".py")
        arrows[here] |= {there for name in imported(file) if (there := room(name))} - {here}

    assert {"http", "health", "db", "config"} <= arrows.keys()
    TopologicalSorter(arrows).prepare()  # raises CycleError


def test_the_database_and_health_take_what_they_need_instead_of_the_settings() -> None:
    files = [*CORE.joinpath("db").rglob("*.py"), *CORE.joinpath("health").rglob("*.py")]

    assert [file.name for file in files if "app.core.config.Settings" in imported(file)] == []
