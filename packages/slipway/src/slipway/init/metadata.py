"""Finds the metadata of a project's models, and the modules that fill it."""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from sqlalchemy import MetaData

from slipway.errors import message_of
from slipway.init.env_file import Models
from slipway.project.configuration import Configuration, ProjectError

BASES = {"DeclarativeBase", "DeclarativeBaseNoMeta"}
CALLS = {"declarative_base", "automap_base"}
SQLMODEL = "sqlmodel:SQLModel"
IGNORED = {"tests", "test", "node_modules", "site-packages", "build", "dist"}


@dataclass(frozen=True)
class Module:
    """A module of the project that declares a base class of models, or models themselves."""

    name: str
    bases: tuple[str, ...]
    has_tables: bool
    uses_sqlmodel: bool


def find_models(configuration: Configuration) -> Models:
    """Find the only base class of the project, and import the modules with its models.

    Raises:
        ProjectError: there is none, or several.
    """
    modules = list(_modules(configuration))
    found = [f"{module.name}:{base}" for module in modules for base in module.bases]
    if any(module.uses_sqlmodel and module.has_tables for module in modules):
        found.append(SQLMODEL)
    if len(found) != 1:
        seen = f"found {', '.join(found)}" if found else "found no declarative base"
        example = found[0] if found else "shop.models:Base"
        raise ProjectError(
            f"say where the metadata of the models is ({seen}): slipway init {example}"
        )
    named = name_models(found, configuration)
    more = [
        f"import {module.name}  # noqa: F401  adds its tables to the metadata"
        for module in modules
        if module.has_tables and module.name not in sys.modules
    ]
    return Models((*named.imports, *more), named.target)


def name_models(places: Iterable[str], configuration: Configuration) -> Models:
    """Write what env.py needs for these places, each a module and a name: `shop.models:Base`.

    The name is of a `MetaData` or of something that has one in `metadata`.

    Raises:
        ProjectError: one cannot be imported, or is nothing of these.
    """
    split = [place.partition(":")[::2] for place in places]
    names = [name for _, name in split]
    imports, targets = [], []
    for module, name in split:
        found = _imported(module, name, configuration)
        is_unique = names.count(name) == 1
        imports.append(f"from {module} import {name}" if is_unique else f"import {module}")
        written = name if is_unique else f"{module}.{name}"
        if isinstance(found, MetaData):
            targets.append(written)
        elif isinstance(getattr(found, "metadata", None), MetaData):
            targets.append(f"{written}.metadata")
        else:
            raise ProjectError(f"{module}:{name} is neither a MetaData nor has one in `metadata`")
    target = targets[0] if len(targets) == 1 else f"[{', '.join(targets)}]"
    return Models(tuple(imports), target)


def _imported(module: str, name: str, configuration: Configuration) -> object:
    if not module or not name:
        raise ProjectError(f"{module or name!r}: write MODULE:NAME, as in shop.models:Base")
    before = list(sys.path)
    sys.path[:0] = [str(root) for root in _roots(configuration)]
    try:
        found: object = getattr(import_module(module), name)
    except Exception as error:
        raise ProjectError(f"cannot import {name} from {module}: {message_of(error)}") from error
    finally:
        sys.path[:] = before
    return found


# ---- The project's code


def _roots(configuration: Configuration) -> list[Path]:
    """What Alembic puts on `sys.path`, and where packages usually are."""
    root = configuration.root
    return [*map(Path, configuration.prepended), root, root / "src"]


def _modules(configuration: Configuration) -> Iterator[Module]:
    roots = sorted(set(_roots(configuration)), key=lambda path: -len(path.parts))
    for path in sorted(_files(configuration.root, {configuration.scripts, *configuration.folders})):
        root = next(root for root in roots if path.is_relative_to(root))
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        yield _module(name, tree)


def _files(folder: Path, left_out: set[Path]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            hidden = path.name.startswith(".") or path.name in IGNORED or path in left_out
            if not hidden and not (path / "pyvenv.cfg").exists():
                yield from _files(path, left_out)
        elif path.suffix == ".py":
            yield path


def _module(name: str, tree: ast.Module) -> Module:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    bases = [
        node.name
        for node in classes
        if {ast.unparse(base).rpartition(".")[2] for base in node.bases} & BASES
    ]
    called = [
        ast.unparse(node.targets[0])
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if ast.unparse(node.value.func).rpartition(".")[2] in CALLS
    ]
    return Module(
        name,
        (*bases, *called),
        has_tables=any(_is_table(node) for node in classes),
        uses_sqlmodel="sqlmodel" in ast.unparse(tree),
    )


def _is_table(node: ast.ClassDef) -> bool:
    """Whether a class is a model with a table, declared in the way of SQLAlchemy or SQLModel."""
    names: set[str] = set()
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            names |= {ast.unparse(target) for target in statement.targets}
        elif isinstance(statement, ast.AnnAssign):
            names.add(ast.unparse(statement.target))
    is_sqlmodel = any(k.arg == "table" and ast.unparse(k.value) == "True" for k in node.keywords)
    return is_sqlmodel or bool(names & {"__tablename__", "__table__"})
