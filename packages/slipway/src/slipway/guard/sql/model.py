"""The parts of a statement that the rules ask about."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from slipway.guard.sql.expressions import find
from slipway.guard.sql.lexer import Tokens

DEFAULT_SCHEMA = "public"
# PostgreSQL takes no more columns; what is longer means to keep its reader busy.
MOST_PARTS = 1600


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
class DataChange:
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
    changes: tuple[DataChange, ...] = ()
    flags: frozenset[str] = field(default=frozenset())

    def of_kind(self, *kinds: str) -> Iterator[Action]:
        return (action for action in self.actions if action.kind in kinds)

    def has(self, *words: str) -> bool:
        """Whether these unquoted words follow each other anywhere in the statement."""
        return find(self.tokens, *words) is not None

    def literals(self) -> set[str]:
        return {token.value for token in self.tokens if token.kind == "string"}
