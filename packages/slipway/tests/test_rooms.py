"""Which rooms of the library import which: the arrows point one way."""

import ast
from collections.abc import Iterator
from pathlib import Path

import slipway

FOLDER = Path(slipway.__file__).parent


def imports(file: Path) -> Iterator[str]:
    """The modules of the library that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("slipway"):
            if node.module == "slipway":
                yield from (f"slipway.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("slipway"))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def arrows() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in FOLDER.rglob("*.py"):
        here = file.relative_to(FOLDER).parts[0].removesuffix(".py")
        found.setdefault(here, set()).update(room(name) for name in imports(file))
    return {name: others - {name, ""} for name, others in found.items()}


def test_no_room_imports_one_that_imports_it() -> None:
    waiting = arrows()
    while free := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in free:
            del waiting[name]

    assert waiting == {}


def test_sql_and_project_know_nothing_of_what_uses_them() -> None:
    for file in (FOLDER / "guard/sql").glob("*.py"):
        assert all(name.startswith("slipway.guard.sql") for name in imports(file)), file
    assert arrows()["project"] == set()
    assert arrows()["report"] == {"project"}
    assert arrows()["devdb"] == set()
