"""Tells an env.py that `alembic init` wrote from one that a project has changed."""

import ast
import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TARGET = "target_metadata"
SHORT = """\
from slipway.env import configure_logging, run

{imports}

configure_logging()
run({target})
"""


@dataclass(frozen=True)
class Models:
    """The part of an env.py that is the project's: its metadata, and the imports for that."""

    imports: tuple[str, ...]
    target: str

    def env_file(self) -> str:
        """Return the whole env.py, as Slipway needs it."""
        return SHORT.format(imports="\n".join(self.imports), target=self.target)


def models_in(text: str, stock: Iterable[Path]) -> Models | None:
    """Return the metadata of an env.py that is otherwise Alembic's own, or None.

    Alembic asks its users to import their models and to set `target_metadata`; nothing else may
    differ, comments included. The target is "None" where they have not done so.

    Args:
        text: the env.py.
        stock: Alembic's templates of it.
    """
    try:
        own = _parts(text)
    except SyntaxError:
        return None
    for path in stock:
        theirs = _parts(path.read_text(encoding="utf-8"))
        added = [line for name, line in own.imports.items() if name not in theirs.imports]
        if (
            own.code == theirs.code
            and own.comments <= theirs.comments
            and theirs.imports.keys() <= own.imports.keys()
        ):
            return Models(tuple(added), own.target)
    return None


@dataclass(frozen=True)
class _Parts:
    """`imports` are lines by what they import, without regard to their form."""

    imports: dict[str, str]
    target: str
    code: tuple[str, ...]
    comments: frozenset[str]


def _parts(text: str) -> _Parts:
    lines = text.splitlines()
    imports: dict[str, str] = {}
    target, code, importing = "None", [], set[int]()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            end = node.end_lineno or node.lineno
            importing |= set(range(node.lineno, end + 1))
            line = "\n".join(lines[node.lineno - 1 : end])
            imports |= dict.fromkeys(_names(node), line)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == TARGET:
            target = ast.unparse(node.value)
            importing.add(node.lineno)
        else:
            code.append(ast.dump(node))
    comments = {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and token.start[0] not in importing
    }
    return _Parts(imports, target, tuple(code), frozenset(comments))


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """One name for each thing imported: `from a import b, c` is two."""
    if isinstance(node, ast.Import):
        return [ast.unparse(ast.Import([alias])) for alias in node.names]
    return [ast.unparse(ast.ImportFrom(node.module, [name], node.level)) for name in node.names]
