"""Strings that a regular expression of a check allows, for the usual ones: one alphabet for each
character. PostgreSQL has the last word on them, so what is not understood here is harmless."""

import string
from collections.abc import Callable, Iterator
from itertools import product

# What a part gives for a number of repetitions beyond the least, and a branch of alternatives.
Part = Callable[[int, int], list[str]]

WORD = string.ascii_lowercase + string.digits + string.ascii_uppercase + "_"
CLASSES = {
    "d": string.digits,
    "w": WORD,
    "s": " ",
    "D": string.ascii_lowercase,
    "W": "-",
    "S": WORD,
    "alnum": string.ascii_lowercase + string.digits + string.ascii_uppercase,
    "alpha": string.ascii_lowercase + string.ascii_uppercase,
    "digit": string.digits,
    "lower": string.ascii_lowercase,
    "punct": "-._",
    "space": " ",
    "upper": string.ascii_uppercase,
    "xdigit": string.digits + "abcdef",
}
PLACES_OF_NO_WIDTH = "AbBmMyYZ"
PRINTABLE = WORD + "-. ,:;/@#+*"
LONGEST = 64


def shapes(pattern: str) -> Iterator[tuple[str, ...]]:
    """Alphabets of strings that may match, shortest first; none where it cannot be parsed."""
    try:
        part = _Parser(pattern).alternatives()
    except (LookupError, ValueError):
        return
    seen = set()
    for extra, branch in product((0, 1, 7), range(4)):
        shape = tuple(part(extra, branch))
        if shape not in seen and len(shape) <= LONGEST and all(shape):
            seen.add(shape)
            yield shape


class _Parser:
    """Parses by recursive descent; raises LookupError or ValueError for what it cannot."""

    def __init__(self, pattern: str) -> None:
        self.rest = pattern

    def take(self) -> str:
        character, self.rest = self.rest[0], self.rest[1:]
        return character

    def taken(self, text: str) -> bool:
        found = self.rest.startswith(text)
        if found:
            self.rest = self.rest[len(text) :]
        return found

    def until(self, end: str) -> str:
        end_at = self.rest.index(end)
        found, self.rest = self.rest[:end_at], self.rest[end_at + len(end) :]
        return found

    def alternatives(self) -> Part:
        branches = [self.sequence()]
        while self.taken("|"):
            branches.append(self.sequence())
        return lambda extra, branch: branches[branch % len(branches)](extra, branch)

    def sequence(self) -> Part:
        parts: list[Part] = []
        while self.rest and self.rest[0] not in "|)":
            parts.append(self.repeated(self.atom()))
        return lambda extra, branch: [
            alphabet for part in parts for alphabet in part(extra, branch)
        ]

    def atom(self) -> Part:
        character = self.take()
        if character in "^$":
            return lambda *_: []
        if character == "(":
            ahead = self.taken("?=") or self.taken("?!")
            self.taken("?:")
            inner = self.alternatives()
            if not self.taken(")"):
                raise ValueError(self.rest)
            return (lambda *_: []) if ahead else inner
        if character == "[":
            alphabet = self.bracket()
        elif character == ".":
            alphabet = WORD
        elif character == "\\":
            escaped = self.take()
            if escaped in PLACES_OF_NO_WIDTH:
                return lambda *_: []
            alphabet = CLASSES.get(escaped, escaped)
        else:
            alphabet = character
        return lambda *_: [alphabet]

    def bracket(self) -> str:
        negated = self.taken("^")
        found = "]" if self.taken("]") else ""
        while not self.taken("]"):
            if self.taken("[:"):
                found += CLASSES[self.until(":]")]
                continue
            first = self.take()
            if first == "\\":
                escaped = self.take()
                found += CLASSES.get(escaped, escaped)
            elif self.rest.startswith("-") and self.rest[1:2] != "]":
                self.take()
                last = self.take()
                found += "".join(map(chr, range(ord(first), ord(last) + 1)))
            else:
                found += first
        return "".join(c for c in PRINTABLE if c not in found) if negated else found

    def repeated(self, part: Part) -> Part:
        least, most = 1, 1
        while self.rest and self.rest[0] in "*+?{":
            quantifier = self.take()
            if quantifier == "{":
                low, comma, high = self.until("}").partition(",")
                least = int(low)
                most = (int(high) if high else LONGEST) if comma else least
            else:
                least = 1 if quantifier == "+" else 0
                most = 1 if quantifier == "?" else LONGEST
            self.taken("?")
        if least > LONGEST:
            raise ValueError(least)
        return lambda extra, branch: part(extra, branch) * min(least + extra, most)
