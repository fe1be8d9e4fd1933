"""Steps through the tokens of one statement."""

from slipway.guard.sql.lexer import Tokens
from slipway.guard.sql.model import DEFAULT_SCHEMA, Name

TWO_WORDS = {
    "MATERIALIZED": "VIEW",
    "FOREIGN": "TABLE",
    "EVENT": "TRIGGER",
    "ACCESS": "METHOD",
    "OWNED": "BY",
}


class Reader:
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
        """RuleContext over these keywords if they come next."""
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


def object_kind(reader: Reader) -> str:
    first = reader.skip()
    second = TWO_WORDS.get(first, "")
    if second and reader.accept(second):
        return f"{first} {second}"
    return "FUNCTION" if first in ("PROCEDURE", "ROUTINE", "AGGREGATE") else first


def read_flags(reader: Reader) -> set[str]:
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


def cascade(rest: Tokens) -> set[str]:
    return {"CASCADE"} if any(token.key == "CASCADE" for token in rest) else set()
