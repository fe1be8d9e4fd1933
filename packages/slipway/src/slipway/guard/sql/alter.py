"""Reads the comma-separated actions of an ALTER."""

from slipway.guard.sql.definitions import (
    CONSTRAINT_WORDS,
    read_column,
    read_constraint,
    read_type,
)
from slipway.guard.sql.expressions import split_at
from slipway.guard.sql.model import MOST_PARTS, Action, Statement
from slipway.guard.sql.reader import Reader, cascade, object_kind, read_flags


def read_alter(reader: Reader) -> Statement:
    kind = object_kind(reader)
    flags = read_flags(reader)
    target = reader.listed()
    if reader.accept("ON"):  # ALTER TRIGGER name ON table
        reader.name()
    parts = split_at(reader.rest(), ",")[:MOST_PARTS]
    actions = tuple(_action(Reader(part), kind) for part in parts)
    for action in actions:
        flags |= action.flags
    return Statement(
        kind=f"ALTER {kind}",
        tokens=reader.tokens,
        targets=(target,),
        actions=actions,
        flags=frozenset(flags),
    )


def _action(reader: Reader, kind: str) -> Action:
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


def _add(reader: Reader, kind: str) -> Action:
    if kind == "TYPE" and reader.accept("VALUE"):
        flags = read_flags(reader)
        value = reader.tokens[reader.position].value if not reader.at_end() else ""
        return Action(kind="ADD VALUE", name=value, flags=frozenset(flags))
    if reader.key() in CONSTRAINT_WORDS:
        return Action(kind="ADD CONSTRAINT", constraint=read_constraint(reader))
    reader.one_of("COLUMN", "ATTRIBUTE")
    flags = read_flags(reader)
    column = read_column(reader, reader.identifier())
    return Action(kind="ADD COLUMN", name=column.name, column=column, flags=frozenset(flags))


def _drop_part(reader: Reader, kind: str) -> Action:
    part = reader.one_of("COLUMN", "CONSTRAINT", "ATTRIBUTE")
    if kind == "DOMAIN" and not part:
        return Action(kind=f"DROP {reader.skip()}")
    flags = read_flags(reader)
    name = reader.identifier()
    flags |= cascade(reader.rest())
    return Action(kind=f"DROP {part or 'COLUMN'}", name=name, flags=frozenset(flags))


def _alter_column(reader: Reader, kind: str) -> Action:
    if reader.accept("CONSTRAINT"):
        name = reader.identifier()
        enforces = reader.accept("ENFORCED")
        return Action(kind="ENFORCE" if enforces else "ALTER CONSTRAINT", name=name)
    reader.one_of("COLUMN", "ATTRIBUTE")
    name = reader.identifier()
    if reader.accept("SET", "DATA", "TYPE") or reader.accept("TYPE"):
        new = read_type(reader)
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


def _rename(reader: Reader, kind: str) -> Action:
    if reader.accept("TO"):
        return Action(kind="RENAME TO", new_name=reader.identifier())
    if reader.accept("VALUE"):
        return Action(kind="RENAME VALUE")
    part = reader.one_of("COLUMN", "CONSTRAINT", "ATTRIBUTE") or "COLUMN"
    name = reader.identifier()
    reader.accept("TO")
    return Action(kind=f"RENAME {part}", name=name, new_name=reader.identifier())


def _set_option(reader: Reader, kind: str) -> Action:
    if reader.accept("NOT", "NULL"):
        return Action(kind="SET NOT NULL")
    what = reader.skip()
    return Action(kind=f"SET {what}", new_name=reader.identifier() if what == "SCHEMA" else "")


def _validate(reader: Reader, kind: str) -> Action:
    reader.accept("CONSTRAINT")
    return Action(kind="VALIDATE CONSTRAINT", name=reader.identifier())


def _partition(reader: Reader, kind: str) -> Action:
    verb = reader.tokens[0].key
    reader.accept("PARTITION")
    target = reader.name()
    flags = {"CONCURRENTLY", "FINALIZE"} & {token.key for token in reader.rest()}
    return Action(kind=f"{verb} PARTITION", target=target, flags=frozenset(flags))


def _toggle(reader: Reader, kind: str) -> Action:
    reader.one_of("REPLICA", "ALWAYS")
    return Action(kind="TOGGLE TRIGGER" if reader.accept("TRIGGER") else "TOGGLE")
