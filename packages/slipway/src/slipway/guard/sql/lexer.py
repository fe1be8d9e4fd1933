"""Splits SQL into tokens as PostgreSQL's scanner does (manual, "SQL Syntax: Lexical Structure").

It takes any text and never fails: what is not closed goes on to the end.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

# Keywords and digits are ASCII, names are anything beyond it. Quantifiers are possessive, so that
# the time is linear for any text.
PATTERN = re.compile(
    r"""
      (?P<space>\s++)
    | (?P<comment>--[^\r\n]*+|/\*)
    | (?P<string>[eE]'(?:[^'\\]|''|\\.)*+(?:\\?\Z|')
               | (?:[uU]&|[bBxXnN])?+'(?:[^']|'')*+(?:'|\Z)
               | \$(?P<tag>(?:[^\W\d]\w*+)?+)\$.*?(?:\$(?P=tag)\$|\Z))
    | (?P<quoted>(?:[uU]&)?+"(?:[^"]|"")*+(?:"|\Z))
    | (?P<word>[^\W\d][\w$]*+)
    | (?P<number>(?:\d[\d_]*+(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+)
    | (?P<parameter>\$\d++)
    | (?P<symbol>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Token:
    kind: str
    text: str

    @cached_property
    def key(self) -> str:
        """What grammar compares: an unquoted word in capitals, a symbol; empty for all else."""
        if self.kind == "word":
            return self.text.upper()
        return self.text if self.kind == "symbol" else ""

    @cached_property
    def name(self) -> str:
        """The identifier that is meant; empty where this is none."""
        if self.kind == "word":
            return self.text.lower()
        if self.kind == "quoted":
            return self.text[self.text.index('"') + 1 :].removesuffix('"').replace('""', '"')
        return ""

    @cached_property
    def value(self) -> str:
        """The content of a string without escapes other than doubled quotes; empty otherwise."""
        if self.kind != "string" or self.text.startswith("$"):
            return ""
        return self.text[self.text.index("'") + 1 :].removesuffix("'").replace("''", "'")


Tokens = tuple[Token, ...]


def tokens(sql: str) -> Iterator[Token]:
    """All tokens, with space and comments: their texts together are `sql` again."""
    position = 0
    while match := PATTERN.match(sql, position):
        kind = match.lastgroup or ""
        end = match.end()
        if match.group() == "/*":
            end = _end_of_comment(sql, end)
        yield Token("string" if kind == "tag" else kind, sql[position:end])
        position = end


def _end_of_comment(sql: str, position: int) -> int:
    """Where a block comment that began before `position` ends; such comments nest."""
    depth = 1
    for edge in COMMENT_EDGE.finditer(sql, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
