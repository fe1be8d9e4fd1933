"""What a column could hold, so that PostgreSQL itself picks what its checks allow.

The constants that a check mentions, what lies around and between them, and formats in common use.
"""

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from slipway.guard.sql.lexer import tokens
from slipway.rehearse.seeding.catalogue import CatalogType
from slipway.rehearse.seeding.regex import shapes
from slipway.rehearse.seeding.values import (
    ALPHABET,
    INDEX,
    Values,
    constants,
    from_alphabets,
    literal,
    template,
    values_of,
)

NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8", "money"}
STRINGS = {"text", "varchar", "bpchar", "citext", "name"}
MOMENTS = {"date", "timestamp", "timestamptz"}
NOTHING = constants([None])
# Constants of one check that are tried, pairs of them, and the longest string that is made.
TRIED = 60
LONGEST = 1000


@dataclass(frozen=True)
class Mentioned:
    """The constants in the conditions of a column."""

    texts: tuple[str, ...]
    numbers: tuple[Decimal, ...]


def mentioned_in(expressions: Iterable[str]) -> Mentioned:
    texts: dict[str, None] = {}
    numbers: set[Decimal] = set()
    for expression in expressions:
        for token in tokens(expression):
            if token.kind == "string":
                texts |= dict.fromkeys([token.value, *_elements(token.value)])
            if token.kind == "number" or token.kind == "string":
                number = _number(token.value or token.text)
                numbers |= set() if number is None else {number}
    return Mentioned(tuple(texts)[:TRIED], tuple(sorted(numbers))[:TRIED])


def _elements(text: str) -> list[str]:
    """Of an array's text form, for what needs no quotes in it."""
    return text[1:-1].split(",") if re.fullmatch(r"\{[^{}\"]+\}", text) else []


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < 10**30 else None


def candidates(
    kind: CatalogType, nullable: bool, default: str | None, mentions: Mentioned
) -> list[Values]:
    """Ways to fill a column, the usual one first and none last.

    Each gives values of the type or their text form; some may turn out not to fit.
    """
    bare = kind.bare
    usual = values_of(bare)
    found = [usual or template(INDEX)]
    found += [constants([text]) for text in (*mentions.texts, *map(str, mentions.numbers))]
    if bare.name in NUMBERS:
        found += _numbers(mentions.numbers)
    elif bare.name in STRINGS:
        found += _strings(mentions)
    elif bare.name in MOMENTS:
        found += _moments(bare.name, mentions.texts)
    elif bare.name in ("json", "jsonb"):
        found += _documents(mentions.texts)
    elif bare.is_array and bare.base:
        found += _arrays(bare.base, mentions)
    elif bare.name == "interval":
        found += [template(f"{INDEX} * interval '1 hour'")]
    elif bare.name == "bool":
        found += [constants(["true"]), constants(["false"])]
    elif bare.kind == "e":
        found += [constants([label]) for label in bare.labels]
    elif bare.kind == "r":
        found += [constants(["empty"])]
    if default:
        found.append(template(default, 1))
    if nullable:
        found.append(NOTHING)
    return found


def _numbers(numbers: Sequence[Decimal]) -> Iterator[Values]:
    for low, high in pairwise(numbers):
        whole = int(high - low)
        if whole > 1:
            yield template(f"{low} + {INDEX} % {whole + 1}", whole + 1)
            yield template(f"{low} + 1 + {INDEX} % {whole - 1}", whole - 1)
        yield template(f"{low} + (1 + {INDEX} % 1000) * {(high - low) / 1001:f}", 1000)
    if len(numbers) > 2:
        yield from _numbers((numbers[0], numbers[-1]))
    for number in (*numbers, Decimal(0)):
        yield template(f"{number} + {INDEX}")
        yield template(f"{number} - {INDEX}")
        if number:
            yield template(f"{number} * {INDEX}")
            yield constants([str(number + 1)])
            yield constants([str(number - 1)])
    yield template(f"{INDEX} * 2")
    yield template(f"{INDEX} + 1000000")
    for text in ("1", "0", "-1"):
        yield constants([text])
    yield template(f"{INDEX} % 100", 100)


def _strings(mentions: Mentioned) -> Iterator[Values]:
    for written in FORMATS:
        yield template(written.replace("#", INDEX))
    for text in mentions.texts:
        if "%" in text or "_" in text:
            like = literal(text.replace("%", INDEX, 1).replace("%", "").replace("_", "x"))
            yield template(f"replace({like.replace(INDEX, '#')}, '#', {INDEX}::text)")
        if len(text) <= LONGEST:
            yield template(f"{literal(text)} || {INDEX}")
            yield template(f"{INDEX} || {literal(text)}")
        for shape in shapes(text):
            yield from_alphabets(shape)
            if not text.endswith("$"):
                yield from (from_alphabets([*shape, *[ALPHABET] * more]) for more in (8, 4, 2))
    for length in mentions.numbers:
        for exact in (length, length + 1, length - 1):
            if 1 <= exact <= LONGEST:
                yield from_alphabets([string.hexdigits[:16]] * int(exact))
                yield from_alphabets([string.digits] * int(exact))
                yield from_alphabets([string.ascii_uppercase] * int(exact))
    yield constants([""])


def _moments(name: str, texts: Sequence[str]) -> Iterator[Values]:
    moments = sorted(text for text in texts if re.match(r"\d{4}-\d\d-\d\d", text))
    unit = f"{INDEX}::int" if name == "date" else f"{INDEX} * interval '1 second'"
    ends = [(moments[0], moments[-1])] if moments[2:] else []
    for first, last in [*pairwise(moments), *ends]:
        low, high = f"{name} {literal(first)}", f"{name} {literal(last)}"
        yield template(f"{low} + ({high} - {low}) * ({INDEX} % 1000 + 1)::int / 1001", 1000)
    now = "current_date" if name == "date" else "now()"
    near = (f"{name} '2027-01-01'", f"{name} '2025-01-01'", now)
    for start in (*(f"{name} {literal(text)}" for text in moments), *near):
        yield template(f"{start} + {unit}")
        yield template(f"{start} - {unit}")
    days = f"{INDEX} % 100000"
    days = f"({days})::int" if name == "date" else f"({days}) * interval '1 day'"
    yield template(f"{name} '2000-01-01' + {days}", 100_000)


def _documents(texts: Sequence[str]) -> Iterator[Values]:
    for value in (
        INDEX,
        f"'v' || {INDEX}",
        f"json_build_array({INDEX})",
        f"json_build_object('number', {INDEX})",
        "true",
    ):
        pairs = [f"{literal(text)}, {value}" for text in texts if text]
        for chosen in (", ".join(pairs), *pairs):
            yield template(f"json_build_object({chosen})")
    yield template(f"json_build_array({INDEX})")
    yield template(f"to_json('v' || {INDEX})")
    yield template(f"to_json({INDEX})")
    for text in ("{}", "[]", "true"):
        yield constants([text])


def _arrays(base: CatalogType, mentions: Mentioned) -> Iterator[Values]:
    if element := values_of(base):
        for length in (2, 3, *(int(number) for number in mentions.numbers if 0 < number <= 50)):
            elements = (element.at(f"{INDEX} + {place}") for place in range(length))
            yield template(f"ARRAY[{', '.join(elements)}]", element.distinct)
    for text in mentions.texts:
        yield template(f"ARRAY[{literal(text)}]::text[]", 1)
    yield constants(["{}"])


# What functions and casts in checks want, which have no constant to begin with; `#` is the index.
FORMATS = (
    "#::text",
    "translate(#::text, '0123456789', 'abcdefghij')",
    "translate(#::text, '0123456789', 'ABCDEFGHIJ')",
    "(date '2026-01-01' + (# % 100000)::int)::text",
    "lpad(to_hex(#), 8, '0') || '-0000-4000-8000-000000000000'",
    "'10.' || # % 256 || '.0.1'",
    "'{\"v\": ' || # || '}'",
)
