"""Reads from SQL what the rules ask about: which kind of statement, of what, with which parts.

No more is understood than that, and nothing is ever refused: what a statement does not say in the
way PostgreSQL's grammar has it stays empty.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from slipway.guard.sql.alter import read_alter
from slipway.guard.sql.changes import read_changes
from slipway.guard.sql.definitions import CONSTRAINT_WORDS, read_column, read_constraint
from slipway.guard.sql.expressions import split_at
from slipway.guard.sql.lexer import Token, Tokens, tokens
from slipway.guard.sql.model import MOST_PARTS, Column, Constraint, Name, Statement
from slipway.guard.sql.reader import Reader, cascade, object_kind, read_flags

MOST_CHANGES = 50  # longer texts only keep the reader busy


def parse(sql: str) -> list[Statement]:
    """The statements of a text, in order; what stands in strings and comments is none."""
    significant = [token for token in tokens(sql) if token.kind not in ("space", "comment")]
    return [_statement(part) for part in _split(significant) if part]


def _split(sequence: Sequence[Token]) -> Iterator[Tokens]:
    """Part at semicolons, but not at those in a rule's parentheses or a function's SQL body."""
    part: list[Token] = []
    depth = 0
    previous = ""
    for token in sequence:
        if token.key == "(" or (previous == "BEGIN" and token.key == "ATOMIC"):
            depth += 1
        elif depth and token.key in ("CASE", ")", "END"):
            depth += 1 if token.key == "CASE" else -1
        previous = token.key
        if token.key == ";" and depth <= 0:
            yield tuple(part)
            part = []
        else:
            part.append(token)
    yield tuple(part)


# ---- Statements

DATA = {"WITH", "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "VALUES", "("}
PREFIXES = (
    *("GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "UNIQUE", "RECURSIVE"),
    *("CONSTRAINT", "DEFAULT", "TRUSTED", "PROCEDURAL"),
)


def _statement(sequence: Tokens) -> Statement:
    reader = Reader(sequence)
    head = reader.key()
    if head in DATA:
        changes = islice(read_changes(sequence), MOST_CHANGES)
        return Statement(kind=head, tokens=sequence, changes=tuple(changes))
    reader.skip()
    special: Callable[[Reader], Statement] | None = {
        "CREATE": _create,
        "DROP": _drop,
        "ALTER": read_alter,
        "TRUNCATE": _truncate,
        "LOCK": _lock,
        "REINDEX": _maintenance,
        "VACUUM": _maintenance,
        "CLUSTER": _maintenance,
        "REFRESH": _maintenance,
        "SET": _set,
        "RESET": _set,
    }.get(head)
    return special(reader) if special else Statement(kind=head, tokens=sequence)


def _create(reader: Reader) -> Statement:
    flags = {"OR REPLACE"} if reader.accept("OR", "REPLACE") else set()
    while prefix := reader.one_of(*PREFIXES):
        flags.add(prefix)
    kind = object_kind(reader)
    flags |= read_flags(reader)
    made = Statement(kind=f"CREATE {kind}", tokens=reader.tokens)
    if kind == "INDEX":
        return _create_index(reader, made, flags)
    if kind in ("TRIGGER", "POLICY", "RULE"):
        name = reader.identifier()
        reader.until("ON", "TO") if kind != "RULE" else reader.until("TO")
        reader.skip()
        table = reader.name()
        return replace(
            made, targets=(Name(table.schema, name),), table=table, flags=frozenset(flags)
        )
    target = reader.name()
    made = replace(made, targets=(target,), flags=frozenset(flags))
    if kind == "DOMAIN":
        reader.accept("AS")
        return replace(made, columns=(read_column(reader, target.name),))
    if kind not in ("TABLE", "FOREIGN TABLE"):
        return made
    if reader.accept("PARTITION", "OF"):
        return replace(made, table=reader.name())
    columns: list[Column] = []
    constraints: list[Constraint] = []
    for part in split_at(reader.parentheses(), ",")[:MOST_PARTS]:
        inner = Reader(part)
        if inner.key() in CONSTRAINT_WORDS:
            constraints.append(read_constraint(inner))
        elif inner.key() != "LIKE":
            columns.append(read_column(inner, inner.identifier()))
    return replace(made, columns=tuple(columns), constraints=tuple(constraints))


def _create_index(reader: Reader, made: Statement, flags: set[str]) -> Statement:
    name = "" if reader.key() == "ON" else reader.name().name
    reader.accept("ON")
    if reader.accept("ONLY"):
        flags.add("ONLY")
    table = reader.name()
    if reader.accept("USING"):
        reader.skip()
    parts = split_at(reader.parentheses(), ",")
    keys = tuple(part[0].name if len(part) == 1 else "" for part in parts if part)
    name = name or "_".join([table.name, *(key or "expr" for key in keys), "idx"])
    return replace(
        made,
        targets=(Name(table.schema, name),),
        table=table,
        keys=keys,
        flags=frozenset(flags),
    )


def _drop(reader: Reader) -> Statement:
    kind = object_kind(reader)
    flags = read_flags(reader)
    targets = reader.names()
    table = reader.name() if reader.accept("ON") else None
    return Statement(
        kind=f"DROP {kind}",
        tokens=reader.tokens,
        targets=targets,
        table=table,
        flags=frozenset(flags | cascade(reader.rest())),
    )


def _truncate(reader: Reader) -> Statement:
    reader.accept("TABLE")
    targets = reader.names()
    flags = frozenset(cascade(reader.rest()))
    return Statement(kind="TRUNCATE", tokens=reader.tokens, targets=targets, flags=flags)


def _lock(reader: Reader) -> Statement:
    reader.accept("TABLE")
    return Statement(kind="LOCK", tokens=reader.tokens, targets=reader.names())


def _maintenance(reader: Reader) -> Statement:
    """REINDEX, VACUUM, CLUSTER and REFRESH, with options in parentheses or as words."""
    kind = reader.tokens[0].key
    options = {token.key for token in reader.parentheses()}
    objects = {"MATERIALIZED", "VIEW", "TABLE", "INDEX", "SCHEMA", "DATABASE", "SYSTEM"}
    words = {"CONCURRENTLY", "FULL", "FREEZE", "VERBOSE", "ANALYZE"} | objects
    while word := reader.one_of(*words):
        options.add(word)
    targets = reader.names()
    if kind == "CLUSTER" and reader.accept("ON"):
        targets = reader.names()
    return Statement(kind=kind, tokens=reader.tokens, targets=targets, flags=frozenset(options))


def _set(reader: Reader) -> Statement:
    scope = reader.one_of("LOCAL", "SESSION")
    setting = reader.name()
    flags = {scope} & {"LOCAL"}
    if reader.one_of("=", "TO") and any(token.key == "DEFAULT" for token in reader.rest()):
        flags.add("DEFAULT")
    kind = reader.tokens[0].key
    return Statement(kind=kind, tokens=reader.tokens, targets=(setting,), flags=frozenset(flags))
