"""What is known of the schema from the revisions before a statement, and when it came to be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from slipway.guard.sql.expressions import never_null
from slipway.guard.sql.lexer import Tokens
from slipway.guard.sql.model import Action, Column, Constraint, Name, Statement, Type


@dataclass(frozen=True)
class Moment:
    revision: str
    transaction: int


@dataclass(frozen=True, kw_only=True)
class KnownColumn:
    type: Type
    not_null: bool
    made: Moment | None


@dataclass(frozen=True, kw_only=True)
class KnownConstraint:
    kind: str
    columns: tuple[str, ...]
    references: Name | None
    expression: Tokens
    valid: bool
    made: Moment


@dataclass(frozen=True, kw_only=True)
class KnownIndex:
    """`within` are all names in it, if it has an expression or a predicate."""

    table: Name
    keys: tuple[str, ...]
    made: Moment
    within: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class KnownTable:
    made: Moment | None = None
    columns: Mapping[str, KnownColumn] = field(default_factory=dict)
    constraints: Mapping[str, KnownConstraint] = field(default_factory=dict)


@dataclass
class Schema:
    """Grows by `apply`. Its values are frozen, so a copy costs no more than its dictionaries."""

    complete: bool = True  # whether the SQL of all revisions so far is known
    tables: dict[Name, KnownTable] = field(default_factory=dict)
    indexes: dict[Name, KnownIndex] = field(default_factory=dict)
    objects: dict[tuple[str, Name], Moment] = field(default_factory=dict)
    constrained_domains: dict[str, Moment] = field(default_factory=dict)
    enum_values: dict[tuple[Name, str], Moment] = field(default_factory=dict)

    def copy(self) -> "Schema":
        return Schema(
            self.complete,
            dict(self.tables),
            dict(self.indexes),
            dict(self.objects),
            dict(self.constrained_domains),
            dict(self.enum_values),
        )

    def add(self, other: "Schema") -> None:
        """Take over what another branch knows."""
        self.complete = self.complete and other.complete
        self.tables |= other.tables
        self.indexes |= other.indexes
        self.objects |= other.objects
        self.constrained_domains |= other.constrained_domains
        self.enum_values |= other.enum_values

    # ---- Questions

    def table(self, name: Name) -> KnownTable:
        return self.tables.get(name) or KnownTable()

    def column(self, table: Name, name: str) -> KnownColumn | None:
        return self.table(table).columns.get(name)

    def made(self, name: Name) -> Moment | None:
        """When this relation came to be; None if that is not known."""
        if name in self.tables:
            return self.tables[name].made
        return self.objects.get(("MATERIALIZED VIEW", name))

    def is_new(self, name: Name, revision: str) -> bool:
        made = self.made(name)
        return made is not None and made.revision == revision

    def is_never_null(self, table: Name, column: str) -> bool:
        """Whether PostgreSQL can tell without a scan: by NOT NULL or by a valid CHECK."""
        known = self.column(table, column)
        if known and known.not_null:
            return True
        return any(
            constraint.valid and column in never_null(constraint.expression)
            for constraint in self.table(table).constraints.values()
        )

    def foreign_keys(self, table: Name) -> Iterator[KnownConstraint]:
        for constraint in self.table(table).constraints.values():
            if constraint.kind == "FOREIGN KEY" and constraint.references != table:
                yield constraint

    # ---- Growth

    def apply(self, statement: Statement, now: Moment) -> None:
        kind = statement.kind
        if kind in ("CREATE TABLE", "CREATE FOREIGN TABLE"):
            self._create_table(statement, now)
        elif kind == "CREATE INDEX" and statement.table:
            made = KnownIndex(
                table=statement.table,
                keys=statement.keys,
                made=now,
                within=_within(statement),
            )
            self.indexes.setdefault(statement.targets[0], made)
        elif kind == "ALTER TABLE":
            for action in statement.actions:
                self._alter_table(statement.targets[0], action, now)
        elif kind == "ALTER TYPE":
            for action in statement.of_kind("ADD VALUE"):
                self.enum_values[statement.targets[0], action.name] = now
        elif kind == "ALTER INDEX":
            for action in statement.of_kind("RENAME TO"):
                self._rename_index(statement.targets[0], action.new_name)
        elif kind.startswith("CREATE "):
            self._create(kind.removeprefix("CREATE "), statement, now)
        elif kind.startswith("DROP "):
            for name in statement.targets:
                self._drop(kind.removeprefix("DROP "), name)

    def _create(self, kind: str, statement: Statement, now: Moment) -> None:
        for name in statement.targets:
            if "IF NOT EXISTS" not in statement.flags:
                self.objects.setdefault((kind, name), now)
        for domain in statement.columns:
            if domain.not_null or domain.constraints:
                self.constrained_domains[domain.name] = now

    def _drop(self, kind: str, name: Name) -> None:
        self.objects.pop((kind, name), None)
        if kind == "INDEX":
            self.indexes.pop(name, None)
        if kind in ("TABLE", "FOREIGN TABLE"):
            self.tables.pop(name, None)
            self.indexes = {k: index for k, index in self.indexes.items() if index.table != name}

    def _create_table(self, statement: Statement, now: Moment) -> None:
        name = statement.targets[0]
        if "IF NOT EXISTS" in statement.flags:
            if name in self.tables:
                return
            self.tables[name] = KnownTable()
        else:
            self.tables[name] = KnownTable(made=now)
        for column in statement.columns:
            self._add_column(name, column, now)
        for constraint in statement.constraints:
            self._add_constraint(name, constraint, now, valid=True)

    def _add_column(self, table: Name, column: Column, now: Moment) -> None:
        known = self.table(table)
        added = KnownColumn(type=column.type, not_null=column.not_null, made=now)
        self.tables[table] = replace(known, columns={**known.columns, column.name: added})
        for constraint in column.constraints:
            self._add_constraint(table, constraint, now, valid=True)

    def _add_constraint(
        self, table: Name, constraint: Constraint, now: Moment, *, valid: bool
    ) -> None:
        known = self.table(table)
        added = KnownConstraint(
            kind=constraint.kind,
            columns=constraint.columns,
            references=constraint.references,
            expression=constraint.expression,
            valid=valid,
            made=now,
        )
        name = constraint.name or default_name(table, constraint)
        self.tables[table] = replace(known, constraints={**known.constraints, name: added})
        if valid and constraint.kind in ("PRIMARY KEY", "NOT NULL"):
            index = self.indexes.get(Name(table.schema, constraint.using_index))
            self._set_not_null(table, *(index.keys if index else constraint.columns))

    def _set_not_null(self, table: Name, *names: str, to: bool = True) -> None:
        known = self.table(table)
        changed = {
            name: replace(known.columns[name], not_null=to)
            if name in known.columns
            else KnownColumn(type=Type(), not_null=to, made=None)
            for name in names
        }
        self.tables[table] = replace(known, columns={**known.columns, **changed})

    def _alter_table(self, name: Name, action: Action, now: Moment) -> None:
        known = self.table(name)
        columns, constraints = dict(known.columns), dict(known.constraints)
        match action.kind:
            case "ADD COLUMN" if action.column:
                if "IF NOT EXISTS" not in action.flags or action.name not in columns:
                    self._add_column(name, action.column, now)
                return
            case "ADD CONSTRAINT" if action.constraint:
                valid = action.constraint.validates
                self._add_constraint(name, action.constraint, now, valid=valid)
                return
            case "SET NOT NULL" | "DROP NOT NULL":
                self._set_not_null(name, action.name, to=action.kind == "SET NOT NULL")
                return
            case "VALIDATE CONSTRAINT" if found := constraints.get(action.name):
                constraints[action.name] = replace(found, valid=True)
                if found.kind == "NOT NULL":
                    self._set_not_null(name, *found.columns)
                    columns = dict(self.table(name).columns)
            case "ALTER TYPE" if column := columns.get(action.name):
                columns[action.name] = replace(column, type=action.type)
            case "DROP COLUMN":
                columns.pop(action.name, None)
                constraints = {k: c for k, c in constraints.items() if not uses(c, action.name)}
            case "DROP CONSTRAINT":
                constraints.pop(action.name, None)
            case "RENAME COLUMN" if action.name in columns:
                columns[action.new_name] = columns.pop(action.name)
            case "RENAME CONSTRAINT" if action.name in constraints:
                constraints[action.new_name] = constraints.pop(action.name)
            case "RENAME TO":
                self._move_table(name, Name(name.schema, action.new_name))
                return
            case "SET SCHEMA":
                self._move_table(name, Name(action.new_name, name.name))
                return
            case _:
                return
        self.tables[name] = replace(known, columns=columns, constraints=constraints)

    def _move_table(self, old: Name, new: Name) -> None:
        self.tables[new] = self.tables.pop(old, KnownTable())
        for key, index in self.indexes.items():
            if index.table == old:
                self.indexes[key] = replace(index, table=new)

    def _rename_index(self, old: Name, new: str) -> None:
        if old in self.indexes:
            self.indexes[Name(old.schema, new)] = self.indexes.pop(old)


def default_name(table: Name, constraint: Constraint) -> str:
    """The name that PostgreSQL gives a constraint without one."""
    columns = constraint.columns
    if constraint.kind == "CHECK":
        columns = tuple(dict.fromkeys(t.name for t in constraint.expression if t.name))[:1]
    suffix = {
        "FOREIGN KEY": "fkey",
        "CHECK": "check",
        "UNIQUE": "key",
        "PRIMARY KEY": "pkey",
        "NOT NULL": "not_null",
    }.get(constraint.kind, "excl")
    middle = () if constraint.kind == "PRIMARY KEY" else columns
    return "_".join((table.name, *middle, suffix))


def _within(index: Statement) -> frozenset[str]:
    depth = deepest = 0
    for token in index.tokens:
        depth += (token.key == "(") - (token.key == ")")
        deepest = max(deepest, depth)
    if deepest < 2 and not index.has("WHERE"):
        return frozenset()
    return frozenset(token.name for token in index.tokens if token.name)


def uses(constraint: KnownConstraint, column: str) -> bool:
    mentioned = any(token.name == column for token in constraint.expression)
    return mentioned or column in constraint.columns
