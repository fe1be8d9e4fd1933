"""The name that this library had as code of a project, and how to replace it in its imports."""

import ast
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder

OLD, NEW = "migrator", "slipway"
# The message after an update of the template prints the same.
REWRITE = (
    "git grep -lw migrator -- src tests | "
    r"xargs perl -pi -e 's/\bmigrator(?=\.\w| import )/slipway/g'"
)


def is_old(module: str) -> bool:
    """Whether this is the name of a module of the library as it was called before."""
    return module.partition(".")[0] == OLD


def is_another(search_path: Iterable[str]) -> bool:
    """Whether a package of the old name is found there, which is not this library, then."""
    spec = PathFinder.find_spec(OLD, list(search_path))
    # Without a file it is a folder that only has __pycache__ left in it.
    return spec is not None and spec.origin is not None


def renewed(statement: ast.stmt) -> ast.stmt:
    """A statement with the new name in place of the old one, if it is an import."""
    if isinstance(statement, ast.ImportFrom) and not statement.level:
        return ast.ImportFrom(_renewed(statement.module or ""), statement.names, 0)
    if isinstance(statement, ast.Import):
        names = [ast.alias(_renewed(alias.name), alias.asname) for alias in statement.names]
        return ast.Import(names)
    return statement


def _renewed(module: str) -> str:
    first, dot, rest = module.partition(".")
    return f"{NEW if first == OLD else first}{dot}{rest}"


def explain(error: ModuleNotFoundError) -> None:
    """Add to the error of an import of the old name what replaces it."""
    if is_old(error.name or "") and not is_another(sys.path):
        error.add_note(f"The library is called {NEW} now. To rewrite the imports: {REWRITE}")
