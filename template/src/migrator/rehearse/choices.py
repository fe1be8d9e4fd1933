"""What a column could hold, so that PostgreSQL itself picks what its checks allow.

The constants that a check mentions, what lies around and between them, and formats in common use.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from migrator.guard.lexer import tokens
from migrator.rehearse.catalogue import Type
from migrator.rehearse.patterns import shapes
from migrator.rehearse.values import Values, constants, from_alphabets, literal, values_of

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


def choices(kind: Type, nullable: bool, default: str | None, mentions: Mentioned) -> list[Values]:
    """Ways to fill a column, the usual one first and none last.

    Each gives values of the type or their text form; some may turn out not to fit.
    """
    bare = kind.bare
    usual = values_of(bare)
    found = [usual or Values(lambda i: f"({i})")]
    found += _of_constants(mentions)
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
        found += [Values(lambda i: f"({i}) * interval '1 hour'")]
    elif bare.name == "bool":
        found += [constants(["true"]), constants(["false"])]
    elif bare.kind == "e":
        found += [constants([label]) for label in bare.labels]
    elif bare.kind == "r":
        found += [constants(["empty"])]
    if default:
        found.append(Values(lambda _: default, 1))
    if nullable:
        found.append(NOTHING)
    return found


def _of_constants(mentions: Mentioned) -> list[Values]:
    return [constants([text]) for text in (*mentions.texts, *map(str, mentions.numbers))]


def _numbers(numbers: Sequence[Decimal]) -> Iterator[Values]:
    for low, high in pairwise(numbers):
        whole = int(high - low)
        if whole > 1:
            yield Values(lambda i, low=low, whole=whole: f"{low} + ({i}) % {whole + 1}", whole + 1)
            yield Values(
                lambda i, low=low, whole=whole: f"{low} + 1 + ({i}) % {whole - 1}", whole - 1
            )
        yield Values(
            lambda i, low=low, step=(high - low) / 1001: f"{low} + (1 + ({i}) % 1000) * {step:f}",
            1000,
        )
    if len(numbers) > 2:
        yield from _numbers((numbers[0], numbers[-1]))
    for number in (*numbers, 0):
        yield Values(lambda i, number=number: f"{number} + ({i})")
        yield Values(lambda i, number=number: f"{number} - ({i})")
        if number:
            yield Values(lambda i, number=number: f"{number} * ({i})")
            yield constants([str(number + 1)])
            yield constants([str(number - 1)])
    yield Values(lambda i: f"({i}) * 2")
    yield Values(lambda i: f"({i}) + 1000000")
    for text in ("1", "0", "-1"):
        yield constants([text])
    yield Values(lambda i: f"({i}) % 100", 100)


def _strings(mentions: Mentioned) -> Iterator[Values]:
    for format_ in FORMATS:
        yield Values(lambda i, format_=format_: format_.replace("#", f"({i})"))
    for text in mentions.texts:
        if "%" in text or "_" in text:
            like = literal(text.replace("%", "#", 1).replace("%", "").replace("_", "x"))
            yield Values(lambda i, like=like: f"replace({like}, '#', ({i})::text)")
        if len(text) <= LONGEST:
            yield Values(lambda i, text=text: f"{literal(text)} || ({i})")
            yield Values(lambda i, text=text: f"({i}) || {literal(text)}")
        for shape in shapes(text):
            yield from_alphabets(shape)
    for length in mentions.numbers:
        for exact in (length, length + 1, length - 1):
            if 1 <= exact <= LONGEST:
                yield from_alphabets(["0123456789abcdef"] * int(exact))
                yield from_alphabets(["0123456789"] * int(exact))
                yield from_alphabets(["ABCDEFGHIJKLMNOPQRSTUVWXYZ"] * int(exact))
    yield constants([""])


def _moments(name: str, texts: Sequence[str]) -> Iterator[Values]:
    moments = sorted(text for text in texts if re.match(r"\d{4}-\d\d-\d\d", text))
    step = "(#)::int" if name == "date" else "# * interval '1 second'"
    days = "(#)::int" if name == "date" else "# * interval '1 day'"
    now = "current_date" if name == "date" else "now()"

    def moving(start: str, sign: str, step: str) -> Values:
        return Values(lambda i: f"{start} {sign} {step.replace('#', f'({i})')}")

    for low, high in [*pairwise(moments), *([(moments[0], moments[-1])] if moments[2:] else [])]:
        between = f"{name} {literal(low)} + ({name} {literal(high)} - {name} {literal(low)})"
        share = " * ((#) % 1000 + 1) / 1001"
        yield Values(lambda i, sql=between + share: sql.replace("#", i), 1000)
    for text in moments:
        yield moving(f"{name} {literal(text)}", "+", step)
        yield moving(f"{name} {literal(text)}", "-", step)
    for start in (f"{name} '2027-01-01'", f"{name} '2025-01-01'", now):
        yield moving(start, "+", step)
        yield moving(start, "-", step)
    yield Values(lambda i: f"{name} '2000-01-01' + {days.replace('#', f'(({i}) % 100000)')}", 100000)


def _documents(texts: Sequence[str]) -> Iterator[Values]:
    for value in ("#", "'v' || #", "json_build_array(#)", "json_build_object('number', #)", "true"):
        pairs = ", ".join(f"{literal(text)}, {value}" for text in texts if text)
        yield Values(lambda i, pairs=pairs: f"json_build_object({pairs})".replace("#", f"({i})"))
        for key in texts:
            yield Values(
                lambda i, key=key, value=value: (
                    f"json_build_object({literal(key)}, {value.replace('#', f'({i})')})"
                )
            )
    yield Values(lambda i: f"json_build_array({i})")
    yield Values(lambda i: f"to_json('v' || ({i}))")
    yield Values(lambda i: f"to_json({i})")
    for text in ("{}", "[]", "true"):
        yield constants([text])


def _arrays(base: Type, mentions: Mentioned) -> Iterator[Values]:
    element = values_of(base)
    for length in (2, 3, *(int(number) for number in mentions.numbers if 0 < number <= 50)):
        if element:
            yield Values(
                lambda i, length=length: (
                    f"ARRAY[{', '.join(element.at(f'({i}) + {k}') for k in range(length))}]"
                )
            )
    for text in mentions.texts:
        yield Values(lambda _, text=text: f"ARRAY[{literal(text)}]::text[]", 1)
    yield constants(["{}"])


# `#` is the index.
FORMATS = (
    *("'V' || #", "'v-' || #", "'v_' || #", "'v' || # || '@example.com'"),
    *("'https://example.com/v' || #", "'http://example.com/v' || #", "'v' || # || '.example.com'"),
    *("'/v' || #", "#::text", "'+49' || lpad(#::text, 10, '0')", "'#' || lpad(to_hex(#), 6, '0')"),
    *("md5(#::text)", "'{\"v\": ' || # || '}'", "'10.' || # % 256 || '.0.1'", "'v ' || #"),
    *("lpad(to_hex(#), 8, '0') || '-0000-4000-8000-000000000000'", "'1.0.' || #", "'a' || #"),
    *("(date '2026-01-01' + (# % 100000)::int)::text", "translate(#::text, '0123456789', 'abcdefghij')"),
    *("translate(#::text, '0123456789', 'ABCDEFGHIJ')",),
)
