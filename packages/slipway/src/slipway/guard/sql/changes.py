"""Finds the INSERT, UPDATE, DELETE and MERGE of a statement, with what limits them."""

from collections.abc import Iterator
from itertools import islice

from slipway.guard.sql.expressions import find, split_at
from slipway.guard.sql.lexer import Tokens
from slipway.guard.sql.model import MOST_PARTS, DataChange, Name
from slipway.guard.sql.reader import Reader


def read_changes(sequence: Tokens) -> Iterator[DataChange]:
    """Each change, with what limits it: a WHERE of its own, not one of a sub-select."""
    for index, token in enumerate(sequence):
        if token.key not in ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY"):
            continue
        if index and sequence[index - 1].key not in ("(", ")"):
            continue  # FOR UPDATE, DO UPDATE, THEN DELETE
        reader = Reader(_within(sequence[index + 1 :]))
        reader.one_of("INTO", "FROM")
        table = reader.listed()
        body = reader.rest()
        copies_out = token.key == "COPY" and body and body[0].key == "TO"
        if not table.name or copies_out:
            continue
        bounded = True
        if token.key in ("UPDATE", "DELETE"):
            bounded = _is_bounded(body, "WHERE")
        elif token.key == "MERGE":
            bounded = _is_bounded(body, "ON") and find(body, "BY", "SOURCE") is None
        yield DataChange(
            verb=token.key,
            table=table,
            sources=tuple(islice(_sources(body), MOST_PARTS)),
            bounded=bounded,
        )


def _within(sequence: Tokens) -> Tokens:
    """The tokens up to the parenthesis that closes what these began in."""
    depth = 0
    for index, token in enumerate(sequence):
        depth += (token.key == "(") - (token.key == ")")
        if depth < 0:
            return sequence[:index]
    return sequence


def _is_bounded(body: Tokens, word: str) -> bool:
    """Whether a condition follows that names something: `true` and `1 = 1` hold for all rows."""
    _, *conditions = split_at(body, word)
    if not conditions:
        return False
    condition = split_at(split_at(conditions[0], "RETURNING")[0], "WHEN")[0]
    return any(token.name and token.key not in CONSTANT for token in condition)


CONSTANT = {"TRUE", "FALSE", "NULL", "AND", "OR", "NOT", "IS"}


def _sources(sequence: Tokens) -> Iterator[Name]:
    for index, token in enumerate(sequence):
        if token.key in ("FROM", "JOIN", "USING"):
            yield from Reader(sequence[index + 1 : index + 10]).names()[:1]
