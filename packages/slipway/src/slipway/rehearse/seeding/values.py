"""Values of any type as SQL that follows from a number, so that PostgreSQL makes them itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from slipway.rehearse.seeding.catalogue import CatalogType

# Of an index, which starts at 1 and is SQL itself.
Formula = Callable[[str], str]

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
# Where numbers of rows are sure to fit.
MANY = 1_000_000_000
# Stands for the index in a template: of the characters for private use, which no constant has.
INDEX = "\ue000"


@dataclass(frozen=True)
class Values:
    """Values as SQL; `distinct` is how many there are before they repeat, None for no end."""

    at: Formula
    distinct: int | None = None


def template(sql: str, distinct: int | None = None) -> Values:
    return Values(lambda i: sql.replace(INDEX, f"({i})"), distinct)


def literal(text: str) -> str:
    """A string as SQL, whatever `standard_conforming_strings` says."""
    if "\\" in text:
        return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + text.replace("'", "''") + "'"


def cast(expression: str, kind: CatalogType) -> str:
    return f"CAST({expression} AS {kind.sql})"


def constants(texts: Sequence[str | None]) -> Values:
    """These texts in turn."""
    array = ", ".join("NULL" if text is None else literal(text) for text in texts)
    return Values(lambda i: f"(ARRAY[{array}]::text[])[1 + ({i} - 1) % {len(texts)}]", len(texts))


def from_alphabets(alphabets: Sequence[str]) -> Values:
    """Strings of one character from each alphabet, which count up from the right."""
    parts: list[str] = []
    distinct = 1
    for alphabet in reversed(alphabets):
        if len(alphabet) == 1 or distinct > MANY:
            parts.append(literal(alphabet[0]))
        else:
            place = f"1 + (({{i}} - 1) / {distinct} % {len(alphabet)})::int"
            parts.append(f"substr({_braced(literal(alphabet))}, {place}, 1)")
            distinct *= len(alphabet)
    # One that is constant has braces too.
    sql = " || ".join(part if "{i}" in part else _braced(part) for part in reversed(parts))
    return Values(
        lambda i: sql.format(i=i) if parts else "''", None if distinct > MANY else distinct
    )


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def values_of(kind: CatalogType) -> Values | None:
    """Values that fit a type; None for one that is not known here."""
    made = _made(kind)
    return made and replace(made, at=lambda i: cast(made.at(i), kind))


def _made(kind: CatalogType) -> Values | None:
    if kind.kind == "d" and kind.base:
        return values_of(kind.base)
    if kind.kind == "e":
        return constants(kind.labels) if kind.labels else None
    if kind.kind == "c":
        return _composite(kind)
    if kind.is_array and kind.base:
        return _of_base(kind.base, lambda sql, i: f"ARRAY[{sql(i)}]")
    if kind.kind == "m" and kind.base:
        return _of_base(kind.base, lambda sql, i: f"{_constructor(kind)}({sql(i)})")
    if kind.kind == "r" and kind.base:
        return _range(kind, kind.base)
    if kind.name in FITTED:
        return FITTED[kind.name](kind)
    if kind.name in FORMULAS:
        sql, distinct = FORMULAS[kind.name]
        return template(sql.replace("#", INDEX), distinct)
    return None


def _composite(kind: CatalogType) -> Values | None:
    parts = [values_of(part) for part in kind.attributes]
    known = [part for part in parts if part]
    if len(known) < len(parts):
        return None
    limits = [part.distinct for part in known if part.distinct]
    return Values(
        lambda i: f"ROW({', '.join(part.at(i) for part in known)})",
        max(limits, default=1) if len(limits) == len(known) else None,
    )


def _of_base(base: CatalogType, made: Callable[[Formula, str], str]) -> Values | None:
    found = values_of(base)
    return found and Values(lambda i: made(found.at, i), found.distinct)


def _constructor(kind: CatalogType) -> str:
    """The function that makes a range has the name of its type."""
    return kind.sql


def _range(kind: CatalogType, base: CatalogType) -> Values | None:
    """Ranges that do not overlap, as exclusion constraints want them."""
    found = values_of(base)
    if not found:
        return None
    if base.name not in ORDERED:
        return Values(
            lambda i: f"{_constructor(kind)}({found.at(i)}, {found.at(i)}, '[]')", found.distinct
        )
    return Values(
        lambda i: f"{_constructor(kind)}({found.at(i)}, {found.at(f'({i}) + 1')})",
        found.distinct and found.distinct - 1,
    )


def _string(kind: CatalogType) -> Values:
    length = kind.modifier
    if length is None or length > 10:
        return Values(lambda i: f"'v' || ({i})")
    return from_alphabets([ALPHABET] * length)


def _numeric(kind: CatalogType) -> Values:
    scale = kind.scale
    if kind.precision is None or scale is None:
        return Values(lambda i: f"({i})::numeric")
    distinct = 10**kind.precision - 1
    number = f"(1 + (({{}}) - 1) % {distinct})" if distinct < MANY else "({})"
    return Values(
        lambda i: f"{number.format(i)} * 10::numeric ^ {-scale}",
        distinct if distinct < MANY else None,
    )


def _bits(kind: CatalogType) -> Values:
    length = kind.modifier or (1 if kind.name == "bit" else 64)
    width = min(length, 63)
    return Values(
        lambda i: f"(({i}) % {2**width})::bigint::bit({length})", 2**width if width < 30 else None
    )


def _vector(kind: CatalogType) -> Values:
    rest = ",0" * ((kind.modifier or 3) - 1)
    return Values(lambda i: f"('[' || ({i}) || '{rest}]')")


def _half_vector(kind: CatalogType) -> Values:
    """Half precision counts to 2048."""
    rest = ",0" * ((kind.modifier or 3) - 1)
    return Values(lambda i: f"('[' || (({i}) % 2048) || '{rest}]')", 2048)


def _sparse_vector(kind: CatalogType) -> Values:
    return Values(lambda i: f"('{{1:' || ({i}) || '}}/{kind.modifier or 3}')")


FITTED: dict[str, Callable[[CatalogType], Values]] = {
    "bit": _bits,
    "bpchar": lambda kind: _string(kind) if kind.modifier else Values(lambda i: f"'v' || ({i})"),
    "citext": _string,
    "halfvec": _half_vector,
    "name": _string,
    "numeric": _numeric,
    "sparsevec": _sparse_vector,
    "text": _string,
    "varbit": _bits,
    "varchar": _string,
    "vector": _vector,
}

# Their values grow with the number.
ORDERED = {
    "date",
    "float4",
    "float8",
    "int2",
    "int4",
    "int8",
    "numeric",
    "timestamp",
    "timestamptz",
}

# `#` is the index. Times stay in the years that Python has too, years of dates within 9999.
FORMULAS: dict[str, tuple[str, int | None]] = {
    "bool": ("# % 2 = 0", 2),
    "box": ("box(point(#, #), point(# + 1, # + 1))", None),
    "bytea": ("decode(lpad(to_hex(#), 16, '0'), 'hex')", None),
    "char": ("chr(33 + (# % 90)::int)", 90),
    "cidr": ("set_masklen('10.0.0.0'::inet + #, 32)", None),
    "circle": ("circle(point(#, #), 1)", None),
    "cube": ("'(' || # || ')'", None),
    "date": ("date '2026-01-01' + (# % 2000000)::int", 2_000_000),
    "float4": ("#", 16_000_000),
    "float8": ("#", None),
    "hstore": ("'number=>' || #", None),
    "inet": ("'10.0.0.0'::inet + #", None),
    "int2": ("1 + (# - 1) % 32766", 32_766),
    "int4": ("#", None),
    "int8": ("#", None),
    "interval": ("# * interval '1 second'", None),
    "json": ("json_build_object('number', #)", None),
    "jsonb": ("jsonb_build_object('number', #)", None),
    "jsonpath": ("'$.v' || #", None),
    "line": ("line(point(0, #), point(1, #))", None),
    "lseg": ("lseg(point(#, #), point(# + 1, #))", None),
    "ltree": ("'v' || #", None),
    "macaddr": ("lpad(to_hex(#), 12, '0')", None),
    "macaddr8": ("lpad(to_hex(#), 16, '0')", None),
    "money": ("#::numeric", None),
    "oid": ("#", None),
    "path": ("path(polygon(box(point(#, #), point(# + 1, # + 1))))", None),
    "pg_lsn": ("'0/' || to_hex(#)", None),
    "point": ("point(#, #)", None),
    "polygon": ("polygon(box(point(#, #), point(# + 1, # + 1)))", None),
    "regclass": ("'pg_class'", 1),
    "regtype": ("'int4'", 1),
    "time": ("time '00:00' + # * interval '1 millisecond'", 86_400_000),
    "timestamp": ("timestamp '2026-01-01' + # * interval '1 second'", None),
    "timestamptz": ("timestamptz '2026-01-01 00:00+00' + # * interval '1 second'", None),
    "timetz": ("timetz '00:00+00' + # * interval '1 millisecond'", 86_400_000),
    "tsquery": ("to_tsquery('simple', 'v' || #)", None),
    "tsvector": ("to_tsvector('simple', 'v' || #)", None),
    "uuid": ("lpad(to_hex(#), 32, '0')", None),
    "xml": ("'<v>' || # || '</v>'", None),
}

# What a type that is not known may take: the text form of most types looks like one of these.
GUESSES = (
    "1",
    "v",
    "{}",
    "[]",
    "()",
    "(1,1)",
    "(1 .. 2)",
    "[1,1]",
    "{1}",
    "0/0",
    "1:1:",
    "a=>1",
    "2026-01-01",
    "12:00",
    "<v/>",
    "$.v",
    "POINT(1 1)",
    "v@example.com",
    "https://example.com",
    "00000000-0000-0000-0000-000000000001",
    "978-0-393-04002-9",
    "9780393040029",
    "10.0.0.1",
    "+4930123456",
    "EUR",
    "EUR 1",
    "DE",
)
