"""Questions about the tokens of an expression: where keywords stand, what they say of columns."""

from collections.abc import Sequence
from itertools import pairwise

from slipway.guard.sql.lexer import Token, Tokens


def find(sequence: Tokens, *words: str) -> int | None:
    """Where these keywords follow each other for the first time."""
    for index in range(len(sequence) - len(words) + 1):
        if all(sequence[index + i].key == word for i, word in enumerate(words)):
            return index
    return None


def split_at(sequence: Sequence[Token], *keys: str) -> list[Tokens]:
    """The parts between these keywords, as far as they are in no parentheses."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in sequence:
        depth += (token.key in ("(", "[")) - (token.key in (")", "]"))
        if depth == 0 and token.key in keys:
            parts.append([])
        else:
            parts[-1].append(token)
    return [tuple(part) for part in parts]


def written(expression: Tokens) -> str:
    """An expression as SQL, in which the signs of an operator stand together."""
    text = ""
    for before, token in pairwise((Token("", ""), *expression)):
        signs = {before.key, token.key} <= OPERATOR_SIGNS
        text += token.text if signs or not before.text else f" {token.text}"
    return text


OPERATOR_SIGNS = set("+-*/<>=~!@#%^&|`?")


def never_null(expression: Tokens, levels: int = 20) -> set[str]:
    """The columns that a CHECK with this expression keeps from being NULL.

    Args:
        levels: how many parentheses and ANDs deep to look.
    """
    expression = _unwrapped(expression)
    if levels == 0 or len(split_at(expression, "OR")) > 1:
        return set()
    parts = split_at(expression, "AND")
    if len(parts) > 1:
        return set().union(*(never_null(part, levels - 1) for part in parts))
    at = find(expression, "IS", "NOT", "NULL")
    column = at is not None and at + 3 == len(expression) and _column_name(expression[:at])
    return {column} if column else set()


def _unwrapped(expression: Tokens) -> Tokens:
    for _ in range(20):
        if not _is_wrapped(expression):
            break
        expression = expression[1:-1]
    return expression


def _is_wrapped(expression: Tokens) -> bool:
    if len(expression) < 2 or expression[0].key != "(":
        return False
    depth = 0
    for index, token in enumerate(expression):
        depth += (token.key == "(") - (token.key == ")")
        if depth == 0:
            return index == len(expression) - 1 and token.key == ")"
    return False


def _column_name(expression: Tokens) -> str:
    expression = _unwrapped(expression)
    plain = all(token.name or token.key == "." for token in expression)
    return expression[-1].name if expression and plain else ""
