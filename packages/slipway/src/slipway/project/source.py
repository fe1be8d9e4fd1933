"""Reads the Python of a revision: what it is called, and what it does that leaves no SQL."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from slipway.project.renamed import renewed

MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Reference:
    """A name that the code uses, with what it was imported as: `time.sleep`, `?bind.commit`.

    A question mark stands before what was not imported; `()` after what was called to get there.
    """

    name: str
    line: int
    is_call: bool


@dataclass(frozen=True)
class Source:
    file: Path
    text: str = ""
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))
    error: str = ""  # why there is no tree
    error_line: int = 1

    # ---- What Alembic reads

    @cached_property
    def revision(self) -> str:
        return "".join(self._strings("revision")[:1])

    @cached_property
    def parents(self) -> tuple[str, ...]:
        return (*self._strings("down_revision"), *self._strings("depends_on"))

    @cached_property
    def phase(self) -> str:
        return "".join(self._strings("phase")[:1])

    def line_of(self, name: str) -> int:
        """Where this is assigned or defined in the module; the first line if it is not."""
        for node in self.tree.body:
            if name in _targets(node) or getattr(node, "name", None) == name:
                return node.lineno
        return 1

    def _strings(self, name: str) -> tuple[str, ...]:
        for node in self.tree.body:
            if name in _targets(node) and isinstance(node, ast.Assign | ast.AnnAssign):
                items = getattr(node.value, "elts", [node.value])
                values = (getattr(item, "value", None) for item in items)
                return tuple(value for value in values if isinstance(value, str))
        return ()

    # ---- What it does

    def function(self, name: str) -> ast.FunctionDef | None:
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return node
        return None

    @cached_property
    def imports(self) -> tuple[Reference, ...]:
        """The full names of all that is imported, wherever and however."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [Reference(alias.name, node.lineno, False) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                names = [f"{module}.{alias.name}" for alias in node.names]
                found += [Reference(name, node.lineno, False) for name in names]
            elif isinstance(node, ast.Call) and _ends(node.func, "import_module", "__import__"):
                constants = [item for item in node.args[:1] if isinstance(item, ast.Constant)]
                found += [Reference(str(item.value), node.lineno, True) for item in constants]
        return tuple(found)

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """All names and attributes that the code uses, but for what only `downgrade()` does."""
        known = dict(self._aliases())
        found = []
        pending: list[ast.AST] = [n for n in self.tree.body if n is not self.function("downgrade")]
        while pending:
            node = pending.pop()
            pending += ast.iter_child_nodes(node)
            if isinstance(node, ast.Call):
                found.append(Reference(_dotted(node.func, known), node.lineno, True))
            elif isinstance(node, ast.Attribute | ast.Name):
                found.append(Reference(_dotted(node, known), node.lineno, False))
        return tuple(sorted(found, key=lambda reference: reference.line))

    def _aliases(self) -> Iterator[tuple[str, str]]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (first, first)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield alias.asname or alias.name, f"{node.module or ''}.{alias.name}"

    def is_empty(self, name: str) -> bool:
        """Whether this function does nothing and does not say why, by a docstring or a comment."""
        function = self.function(name)
        return function is None or (
            all(_is_nothing(node) for node in function.body) and not self._explains(function)
        )

    def _explains(self, function: ast.FunctionDef) -> bool:
        lines = range(function.lineno, (function.end_lineno or function.lineno) + 1)
        return any(
            line in lines and not re.match(r"#\s*(###|noqa|type:|guard:|fmt:|pragma)", comment)
            for line, _, comment in self.comments
        )

    # ---- Comments

    @cached_property
    def comments(self) -> tuple[tuple[int, bool, str], ...]:
        """Line, whether nothing else stands on it, and text of each comment."""
        readline = io.StringIO(self.text).readline
        return tuple(
            (token.start[0], not token.line[: token.start[1]].strip(), token.string)
            for token in tokenize.generate_tokens(readline)
            if token.type == tokenize.COMMENT
        )

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """The outer before the inner."""
        return tuple(ast.walk(self.tree))


def read(file: Path) -> Source:
    """Read a file, whatever is in it.

    Raises:
        OSError: it cannot be opened.
    """
    content = file.read_bytes()
    if len(content) > MOST_BYTES:
        return Source(file, error=f"the file has more than {MOST_BYTES:,} bytes")
    return parse(file, content)


def parse(file: Path, content: bytes) -> Source:
    """What `file` is with this content."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = io.TextIOWrapper(io.BytesIO(content), encoding).read()
        return Source(file, text, ast.parse(content))
    except SyntaxError as error:
        return Source(file, error=error.msg, error_line=error.lineno or 1)
    except (ValueError, RecursionError, MemoryError) as error:
        return Source(file, error=str(error) or type(error).__name__)


def same_code(one: Source, other: Source) -> bool:
    """Whether two sources do the same: comments, docstring, layout, the order of imports and the
    name that this library had before aside."""
    try:
        return not one.error and not other.error and _dump(one.tree) == _dump(other.tree)
    except RecursionError:
        return one.text == other.text


def _dump(tree: ast.Module) -> list[str]:
    body = tree.body[ast.get_docstring(tree) is not None :]
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    others = [node for node in body if node not in imports]
    return [*sorted(ast.dump(renewed(node)) for node in imports), *map(ast.dump, others)]


def _targets(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _ends(node: ast.expr, *names: str) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")) in names


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    suffix = ""
    while True:
        if isinstance(node, ast.Attribute):
            suffix, node = f".{node.attr}{suffix}", node.value
        elif isinstance(node, ast.Call):
            suffix, node = f"(){suffix}", node.func
        elif isinstance(node, ast.Name):
            return aliases.get(node.id, f"?{node.id}") + suffix
        else:
            return f"?{suffix}"


def _is_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value is Ellipsis
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Return) and node.value is None)
