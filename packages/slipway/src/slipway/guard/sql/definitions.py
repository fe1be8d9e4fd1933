"""Reads the definitions of columns, constraints and types."""

from dataclasses import replace

from slipway.guard.sql.expressions import find, split_at
from slipway.guard.sql.lexer import Tokens
from slipway.guard.sql.model import DEFAULT_SCHEMA, Column, Constraint, Type
from slipway.guard.sql.reader import Reader

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


def read_type(reader: Reader) -> Type:
    words = [token for token in reader.until(*COLUMN_WORDS) if token.kind != "string"]
    inner = Reader(tuple(words))
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


def read_column(reader: Reader, name: str) -> Column:
    column = Column(name=name, type=read_type(reader))
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


def _generated(reader: Reader, column: Column) -> Column:
    reader.until("AS")
    reader.accept("AS")
    if reader.accept("IDENTITY"):
        reader.parentheses()
        return replace(column, identity=True, not_null=True)
    reader.parentheses()
    return replace(column, generated=reader.one_of("STORED", "VIRTUAL") or "UNSAID")


def read_constraint(reader: Reader) -> Constraint:
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
