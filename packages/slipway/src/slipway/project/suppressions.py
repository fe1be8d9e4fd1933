"""Reads the comments by which a revision permits what a rule forbids.

`# guard: allow[rule, rule] reason` belongs to the statement that it stands in or behind, or else to
the next one. Alone on a line outside all functions, it is for the file.
"""

import ast
import re
from dataclasses import dataclass

from slipway.project.source import Source


@dataclass(frozen=True)
class Suppression:
    """A comment that permits something; without rules and reason if it is malformed.

    Attributes:
        line: Line of the comment.
        covers: Lines of the statement that it belongs to.
        whole_file: Whether it belongs to the file.
    """

    line: int
    covers: range
    whole_file: bool
    rules: tuple[str, ...] = ()
    reason: str = ""


def suppressions(source: Source) -> tuple[Suppression, ...]:
    """Return the suppressions of a revision, well-formed or not."""
    if source.error or "guard" not in source.text:
        return ()
    statements = [node for node in source.nodes if isinstance(node, ast.stmt)]
    return tuple(
        _suppression(statements, line, alone, comment[match.end() :])
        for line, alone, comment in source.comments
        if (match := re.search(r"#\s*guard\s*:", comment, re.IGNORECASE))
    )


def _suppression(statements: list[ast.stmt], line: int, alone: bool, text: str) -> Suppression:
    match = re.fullmatch(r"\s*allow\s*\[([\w\s,/-]+)\]\s*(\S.*)", text)
    names = match[1].split(",") if match else []
    rules = tuple(name.strip() for name in names)
    covers = _covered(statements, line, alone)
    reason = match[2].strip() if match else ""
    return Suppression(line, covers or range(0), covers is None, rules, reason)


def _covered(statements: list[ast.stmt], line: int, alone: bool) -> range | None:
    """The lines of the statement that a comment belongs to; None for the whole file.

    `statements` has the outer before the inner.
    """
    around = [node for node in statements if line in _lines(node)]
    simple = [node for node in around if not hasattr(node, "body")]
    if simple:
        return _lines(simple[-1])
    if not alone:  # behind the head of a block
        heads = [node for node in around if line < node.body[0].lineno]  # type: ignore[attr-defined]
        return _lines(heads[-1]) if heads else range(0)
    if not around:
        return None
    after = [node for node in statements if node.lineno > line]
    return _lines(min(after, key=lambda node: node.lineno)) if after else range(0)


def _lines(node: ast.stmt) -> range:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return range(first, (node.end_lineno or node.lineno) + 1)
