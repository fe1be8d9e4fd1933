"""Reads from SQL what the rules ask about: which kind of statement, of what, with which parts.

No more is understood than that, and nothing is ever refused: what a statement does not say in the
way PostgreSQL's grammar has it stays empty.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

from slipway.guard.sql.lexer import Token, tokens

Tokens = tuple[Token, ...]
DEFAULT_SCHEMA = "public"
# PostgreSQL takes no more columns; what is longer means to keep its reader busy.
MOST_PARTS, MOST_CHANGES = 1600, 50


@dataclass(frozen=True)
class Name:
    schema: str
    name: str

    def __str__(self) -> str:
        return self.name if self.schema == DEFAULT_SCHEMA else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Type:
    """A type under the one name that PostgreSQL has for all its spellings, with its modifiers."""

    name: str = ""
    modifiers: tuple[str, ...] = ()
    array: bool = False

    def __str__(self) -> str:
        modifiers = f"({', '.join(self.modifiers)})" if self.modifiers else ""
        return f"{self.name}{modifiers}{'[]' if self.array else ''}"


@dataclass(frozen=True, kw_only=True)
class Constraint:
    kind: str
    name: str = ""
    columns: tuple[str, ...] = ()
    references: Name | None = None
    expression: Tokens = ()
    using_index: str = ""
    validates: bool = True


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    type: Type
    not_null: bool = False
    default: Tokens = ()
    identity: bool = False
    generated: str = ""
    collation: str = ""
    constraints: tuple[Constraint, ...] = ()

    def has(self, kind: str) -> bool:
        return any(constraint.kind == kind for constraint in self.constraints)


@dataclass(frozen=True, kw_only=True)
class Action:
    """One of the comma-separated parts of an ALTER."""

    kind: str
    name: str = ""
    new_name: str = ""
    target: Name | None = None
    column: Column | None = None
    constraint: Constraint | None = None
    type: Type = Type()
    plain: bool = True  # of a change of type: with neither USING nor COLLATE
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Change:
    """An INSERT, UPDATE, DELETE or MERGE, at the top of a statement or in a CTE."""

    verb: str
    table: Name
    sources: tuple[Name, ...]
    bounded: bool


@dataclass(frozen=True, kw_only=True)
class Statement:
    kind: str
    tokens: Tokens
    targets: tuple[Name, ...] = ()
    table: Name | None = None  # of an index, a trigger, a policy
    columns: tuple[Column, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    keys: tuple[str, ...] = ()  # the columns of an index
    actions: tuple[Action, ...] = ()
    changes: tuple[Change, ...] = ()
    flags: frozenset[str] = field(default=frozenset())

    def of_kind(self, *kinds: str) -> Iterator[Action]:
        return (action for action in self.actions if action.kind in kinds)

    def has(self, *words: str) -> bool:
        """Whether these unquoted words follow each other anywhere in the statement."""
        return find(self.tokens, *words) is not None

    def literals(self) -> set[str]:
        return {token.value for token in self.tokens if token.kind == "string"}


def parse(sql: str) -> list[Statement]:
    """The statements of a text, in order; what stands in strings and comments is none."""
    significant = [token for token in tokens(sql) if token.kind not in ("space", "comment")]
    return [_statement(part) for part in _split(significant) if part]


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


class _Reader:
    """A place in a statement; reading beyond its end gives nothing."""

    def __init__(self, sequence: Tokens) -> None:
        self.tokens = sequence
        self.position = 0

    def key(self) -> str:
        return self.tokens[self.position].key if self.position < len(self.tokens) else ""

    def at_end(self) -> bool:
        return self.position >= len(self.tokens)

    def skip(self) -> str:
        key = self.key()
        self.position += 1
        return key

    def accept(self, *words: str) -> bool:
        """Step over these keywords if they come next."""
        end = self.position + len(words)
        found = tuple(token.key for token in self.tokens[self.position : end]) == words
        self.position = end if found else self.position
        return found

    def one_of(self, *words: str) -> str:
        return self.skip() if self.key() in words else ""

    def identifier(self) -> str:
        if self.at_end() or not (name := self.tokens[self.position].name):
            return ""
        self.position += 1
        return name

    def name(self) -> Name:
        parts = [self.identifier()]
        while self.accept("."):
            parts.append(self.identifier())
        return Name(parts[-2] if len(parts) > 1 else DEFAULT_SCHEMA, parts[-1])

    def names(self) -> tuple[Name, ...]:
        """A list, each with the arguments of a function or a star that may follow it."""
        found = [self.listed()]
        while self.accept(","):
            found.append(self.listed())
        return tuple(name for name in found if name.name)

    def listed(self) -> Name:
        self.accept("ONLY")
        name = self.name()
        self.accept("*")
        self.parentheses()
        return name

    def parentheses(self) -> Tokens:
        """What is in the parentheses that begin here; nothing if none do."""
        if self.key() != "(":
            return ()
        begin, depth = self.position + 1, 0
        while not self.at_end():
            key = self.skip()
            depth += (key == "(") - (key == ")")
            if depth == 0:
                return self.tokens[begin : self.position - 1]
        return self.tokens[begin:]

    def until(self, *words: str, least: int = 0) -> Tokens:
        """All before the first of these keywords that is in no parentheses, at `least` so many."""
        begin = self.position
        while not self.at_end() and (self.position < begin + least or self.key() not in words):
            if self.key() == "(":
                self.parentheses()
            else:
                self.position += 1
        return self.tokens[begin : self.position]

    def rest(self) -> Tokens:
        return self.tokens[self.position :]


# ---- Statements

DATA = {"WITH", "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "VALUES", "("}
TWO_WORDS = {
    "MATERIALIZED": "VIEW",
    "FOREIGN": "TABLE",
    "EVENT": "TRIGGER",
    "ACCESS": "METHOD",
    "OWNED": "BY",
}
PREFIXES = (
    *("GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "UNIQUE", "RECURSIVE"),
    *("CONSTRAINT", "DEFAULT", "TRUSTED", "PROCEDURAL"),
)


def _statement(sequence: Tokens) -> Statement:
    reader = _Reader(sequence)
    head = reader.key()
    if head in DATA:
        changes = islice(_changes(sequence), MOST_CHANGES)
        return Statement(kind=head, tokens=sequence, changes=tuple(changes))
    reader.skip()
    special: Callable[[_Reader], Statement] | None = {
        "CREATE": _create,
        "DROP": _drop,
        "ALTER": _alter,
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


def _object(reader: _Reader) -> str:
    first = reader.skip()
    second = TWO_WORDS.get(first, "")
    if second and reader.accept(second):
        return f"{first} {second}"
    return "FUNCTION" if first in ("PROCEDURE", "ROUTINE", "AGGREGATE") else first


def _flags(reader: _Reader) -> set[str]:
    """The words between the kind of an object and its name."""
    found = set()
    while True:
        if reader.accept("IF", "NOT", "EXISTS"):
            found.add("IF NOT EXISTS")
        elif reader.accept("IF", "EXISTS"):
            found.add("IF EXISTS")
        elif word := reader.one_of("CONCURRENTLY", "ONLY"):
            found.add(word)
        else:
            return found


def _create(reader: _Reader) -> Statement:
    flags = {"OR REPLACE"} if reader.accept("OR", "REPLACE") else set()
    while prefix := reader.one_of(*PREFIXES):
        flags.add(prefix)
    kind = _object(reader)
    flags |= _flags(reader)
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
        return replace(made, columns=(_column(reader, target.name),))
    if kind not in ("TABLE", "FOREIGN TABLE"):
        return made
    if reader.accept("PARTITION", "OF"):
        return replace(made, table=reader.name())
    columns: list[Column] = []
    constraints: list[Constraint] = []
    for part in split_at(reader.parentheses(), ",")[:MOST_PARTS]:
        inner = _Reader(part)
        if inner.key() in CONSTRAINT_WORDS:
            constraints.append(_constraint(inner))
        elif inner.key() != "LIKE":
            columns.append(_column(inner, inner.identifier()))
    return replace(made, columns=tuple(columns), constraints=tuple(constraints))


def _create_index(reader: _Reader, made: Statement, flags: set[str]) -> Statement:
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


def _drop(reader: _Reader) -> Statement:
    kind = _object(reader)
    flags = _flags(reader)
    targets = reader.names()
    table = reader.name() if reader.accept("ON") else None
    return Statement(
        kind=f"DROP {kind}",
        tokens=reader.tokens,
        targets=targets,
        table=table,
        flags=frozenset(flags | _cascade(reader.rest())),
    )


def _cascade(rest: Tokens) -> set[str]:
    return {"CASCADE"} if any(token.key == "CASCADE" for token in rest) else set()


def _truncate(reader: _Reader) -> Statement:
    reader.accept("TABLE")
    targets = reader.names()
    flags = frozenset(_cascade(reader.rest()))
    return Statement(kind="TRUNCATE", tokens=reader.tokens, targets=targets, flags=flags)


def _lock(reader: _Reader) -> Statement:
    reader.accept("TABLE")
    return Statement(kind="LOCK", tokens=reader.tokens, targets=reader.names())


def _maintenance(reader: _Reader) -> Statement:
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


def _set(reader: _Reader) -> Statement:
    scope = reader.one_of("LOCAL", "SESSION")
    setting = reader.name()
    flags = {scope} & {"LOCAL"}
    if reader.one_of("=", "TO") and any(token.key == "DEFAULT" for token in reader.rest()):
        flags.add("DEFAULT")
    kind = reader.tokens[0].key
    return Statement(kind=kind, tokens=reader.tokens, targets=(setting,), flags=frozenset(flags))


# ---- ALTER


def _alter(reader: _Reader) -> Statement:
    kind = _object(reader)
    flags = _flags(reader)
    target = reader.listed()
    if reader.accept("ON"):  # ALTER TRIGGER name ON table
        reader.name()
    parts = split_at(reader.rest(), ",")[:MOST_PARTS]
    actions = tuple(_action(_Reader(part), kind) for part in parts)
    for action in actions:
        flags |= action.flags
    return Statement(
        kind=f"ALTER {kind}",
        tokens=reader.tokens,
        targets=(target,),
        actions=actions,
        flags=frozenset(flags),
    )


def _action(reader: _Reader, kind: str) -> Action:
    verb = reader.skip()
    action = {
        "ADD": _add,
        "DROP": _drop_part,
        "ALTER": _alter_column,
        "RENAME": _rename,
        "SET": _set_option,
        "VALIDATE": _validate,
        "ATTACH": _partition,
        "DETACH": _partition,
        "ENABLE": _toggle,
        "DISABLE": _toggle,
    }.get(verb)
    if action is None:
        return Action(kind=verb)
    return action(reader, kind)


def _add(reader: _Reader, kind: str) -> Action:
    if kind == "TYPE" and reader.accept("VALUE"):
        flags = _flags(reader)
        value = reader.tokens[reader.position].value if not reader.at_end() else ""
        return Action(kind="ADD VALUE", name=value, flags=frozenset(flags))
    if reader.key() in CONSTRAINT_WORDS:
        return Action(kind="ADD CONSTRAINT", constraint=_constraint(reader))
    reader.one_of("COLUMN", "ATTRIBUTE")
    flags = _flags(reader)
    column = _column(reader, reader.identifier())
    return Action(kind="ADD COLUMN", name=column.name, column=column, flags=frozenset(flags))


def _drop_part(reader: _Reader, kind: str) -> Action:
    part = reader.one_of("COLUMN", "CONSTRAINT", "ATTRIBUTE")
    if kind == "DOMAIN" and not part:
        return Action(kind=f"DROP {reader.skip()}")
    flags = _flags(reader)
    name = reader.identifier()
    flags |= _cascade(reader.rest())
    return Action(kind=f"DROP {part or 'COLUMN'}", name=name, flags=frozenset(flags))


def _alter_column(reader: _Reader, kind: str) -> Action:
    if reader.accept("CONSTRAINT"):
        name = reader.identifier()
        enforces = reader.accept("ENFORCED")
        return Action(kind="ENFORCE" if enforces else "ALTER CONSTRAINT", name=name)
    reader.one_of("COLUMN", "ATTRIBUTE")
    name = reader.identifier()
    if reader.accept("SET", "DATA", "TYPE") or reader.accept("TYPE"):
        new = _type(reader)
        plain = not {"USING", "COLLATE"} & {token.key for token in reader.rest()}
        return Action(kind="ALTER TYPE", name=name, type=new, plain=plain)
    for words in ALTERED:
        if reader.accept(*words.split()):
            return Action(kind=words, name=name)
    if reader.accept("SET", "DEFAULT"):
        return Action(kind="DROP DEFAULT" if reader.key() == "NULL" else "SET DEFAULT", name=name)
    light = reader.tokens[reader.position : reader.position + 2]
    return Action(kind=" ".join(token.key for token in light), name=name)


ALTERED = (
    *("SET NOT NULL", "DROP NOT NULL", "DROP DEFAULT", "DROP IDENTITY"),
    *("SET EXPRESSION", "DROP EXPRESSION"),
)


def _rename(reader: _Reader, kind: str) -> Action:
    if reader.accept("TO"):
        return Action(kind="RENAME TO", new_name=reader.identifier())
    if reader.accept("VALUE"):
        return Action(kind="RENAME VALUE")
    part = reader.one_of("COLUMN", "CONSTRAINT", "ATTRIBUTE") or "COLUMN"
    name = reader.identifier()
    reader.accept("TO")
    return Action(kind=f"RENAME {part}", name=name, new_name=reader.identifier())


def _set_option(reader: _Reader, kind: str) -> Action:
    if reader.accept("NOT", "NULL"):
        return Action(kind="SET NOT NULL")
    what = reader.skip()
    return Action(kind=f"SET {what}", new_name=reader.identifier() if what == "SCHEMA" else "")


def _validate(reader: _Reader, kind: str) -> Action:
    reader.accept("CONSTRAINT")
    return Action(kind="VALIDATE CONSTRAINT", name=reader.identifier())


def _partition(reader: _Reader, kind: str) -> Action:
    verb = reader.tokens[0].key
    reader.accept("PARTITION")
    target = reader.name()
    flags = {"CONCURRENTLY", "FINALIZE"} & {token.key for token in reader.rest()}
    return Action(kind=f"{verb} PARTITION", target=target, flags=frozenset(flags))


def _toggle(reader: _Reader, kind: str) -> Action:
    reader.one_of("REPLICA", "ALWAYS")
    return Action(kind="TOGGLE TRIGGER" if reader.accept("TRIGGER") else "TOGGLE")


# ---- Columns, constraints and types

CONSTRAINT_WORDS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "NOT"}
COLUMN_WORDS = (
    *("NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "CONSTRAINT"),
    *("GENERATED", "COLLATE", "STORAGE", "COMPRESSION", "DEFERRABLE", "INITIALLY", "OPTIONS"),
    *("USING", "NO", "ENFORCED", "ON", "MATCH"),
)
SERIAL = {
    **dict.fromkeys(("serial", "serial4"), "integer"),
    **dict.fromkeys(("bigserial", "serial8"), "bigint"),
    **dict.fromkeys(("smallserial", "serial2"), "smallint"),
}
SPELLINGS = {
    **dict.fromkeys(("int", "int4"), "integer"),
    **dict.fromkeys(("int8",), "bigint"),
    **dict.fromkeys(("int2",), "smallint"),
    **dict.fromkeys(("character varying", "char varying"), "varchar"),
    **dict.fromkeys(("character",), "char"),
    **dict.fromkeys(("bit varying",), "varbit"),
    **dict.fromkeys(("decimal", "dec"), "numeric"),
    **dict.fromkeys(("bool",), "boolean"),
    **dict.fromkeys(("timestamp with time zone",), "timestamptz"),
    **dict.fromkeys(("timestamp without time zone",), "timestamp"),
    **dict.fromkeys(("time with time zone",), "timetz"),
    **dict.fromkeys(("time without time zone",), "time"),
}


def _type(reader: _Reader) -> Type:
    words = [token for token in reader.until(*COLUMN_WORDS) if token.kind != "string"]
    inner = _Reader(tuple(words))
    parts: list[str] = []
    modifiers: tuple[str, ...] = ()
    while not inner.at_end():
        if inner.key() == "(":
            listed = split_at(inner.parentheses(), ",")
            modifiers = tuple("".join(token.text for token in part) for part in listed)
        elif inner.key() in ("[", "ARRAY"):
            name = " ".join(parts).replace(" . ", ".").removeprefix("pg_catalog.")
            return Type(SPELLINGS.get(name, name), modifiers, array=True)
        else:
            parts.append(inner.identifier() or inner.skip())
    name = " ".join(parts).replace(" . ", ".")
    name = name.removeprefix("pg_catalog.").removeprefix(f"{DEFAULT_SCHEMA}.")
    return Type(SPELLINGS.get(name, name), modifiers)


def _column(reader: _Reader, name: str) -> Column:
    column = Column(name=name, type=_type(reader))
    if integer := SERIAL.get(column.type.name):
        column = replace(column, type=Type(integer), identity=True, not_null=True)
    label = ""
    while not reader.at_end():
        found: Constraint | None = None
        if reader.accept("CONSTRAINT"):
            label = reader.identifier()
            continue
        if reader.accept("NOT", "NULL"):
            column = replace(column, not_null=True)
        elif reader.accept("DEFAULT"):
            default = reader.until(*COLUMN_WORDS, least=1)
            is_null = len(default) == 1 and default[0].key == "NULL"
            column = replace(column, default=() if is_null else default)
        elif reader.accept("COLLATE"):
            column = replace(column, collation=reader.name().name)
        elif reader.accept("GENERATED"):
            column = _generated(reader, column)
        elif reader.accept("PRIMARY", "KEY"):
            column = replace(column, not_null=True)
            found = Constraint(kind="PRIMARY KEY", name=label, columns=(name,))
        elif reader.accept("UNIQUE"):
            found = Constraint(kind="UNIQUE", name=label, columns=(name,))
        elif reader.accept("CHECK"):
            found = Constraint(kind="CHECK", name=label, expression=reader.parentheses())
        elif reader.accept("REFERENCES"):
            found = Constraint(
                kind="FOREIGN KEY", name=label, columns=(name,), references=reader.listed()
            )
        else:
            reader.skip()
        if found:
            column = replace(column, constraints=(*column.constraints, found))
            label = ""
    return column


def _generated(reader: _Reader, column: Column) -> Column:
    reader.until("AS")
    reader.accept("AS")
    if reader.accept("IDENTITY"):
        reader.parentheses()
        return replace(column, identity=True, not_null=True)
    reader.parentheses()
    return replace(column, generated=reader.one_of("STORED", "VIRTUAL") or "UNSAID")


def _constraint(reader: _Reader) -> Constraint:
    name = reader.identifier() if reader.accept("CONSTRAINT") else ""
    kind = reader.skip()
    if kind in ("PRIMARY", "FOREIGN"):
        kind = f"{kind} {reader.skip()}"
    columns: tuple[str, ...] = ()
    expression: Tokens = ()
    if kind == "NOT":  # ADD CONSTRAINT name NOT NULL column
        reader.accept("NULL")
        kind, columns = "NOT NULL", (reader.identifier(),)
    elif kind == "CHECK":
        expression = reader.parentheses()
    else:
        reader.accept("NULLS", "NOT", "DISTINCT") or reader.accept("NULLS", "DISTINCT")
        listed = split_at(reader.parentheses(), ",")
        columns = tuple(part[0].name for part in listed if part)
    using = reader.identifier() if reader.accept("USING", "INDEX") else ""
    references = reader.listed() if reader.accept("REFERENCES") else None
    rest = reader.rest()
    unchecked = find(rest, "NOT", "VALID") is not None or find(rest, "NOT", "ENFORCED") is not None
    return Constraint(
        kind=kind,
        name=name or using,
        columns=columns,
        references=references,
        expression=expression,
        using_index=using,
        validates=not unchecked,
    )


# ---- Data


def _changes(sequence: Tokens) -> Iterator[Change]:
    """Each change, with what limits it: a WHERE of its own, not one of a sub-select."""
    for index, token in enumerate(sequence):
        if token.key not in ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY"):
            continue
        if index and sequence[index - 1].key not in ("(", ")"):
            continue  # FOR UPDATE, DO UPDATE, THEN DELETE
        reader = _Reader(_within(sequence[index + 1 :]))
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
        yield Change(
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


def written(expression: Tokens) -> str:
    """An expression as SQL, in which the signs of an operator stand together."""
    text = ""
    for before, token in pairwise((Token("", ""), *expression)):
        signs = {before.key, token.key} <= OPERATOR_SIGNS
        text += token.text if signs or not before.text else f" {token.text}"
    return text


OPERATOR_SIGNS = set("+-*/<>=~!@#%^&|`?")


def _sources(sequence: Tokens) -> Iterator[Name]:
    for index, token in enumerate(sequence):
        if token.key in ("FROM", "JOIN", "USING"):
            yield from _Reader(sequence[index + 1 : index + 10]).names()[:1]
