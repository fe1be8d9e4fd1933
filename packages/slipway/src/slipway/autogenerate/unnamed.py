"""Gives each constraint and index of a change a name, so that later revisions can refer to it."""

from collections import defaultdict
from collections.abc import Iterable

from alembic.operations import ops
from sqlalchemy import (
    CheckConstraint,
    Connection,
    Constraint,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.sql.elements import conv

from slipway.autogenerate import probe
from slipway.autogenerate.names import TakenNames, index_columns, shortened
from slipway.autogenerate.schema_change import TableName, flatten, name_of, table_of

Nameable = (
    ops.CreateUniqueConstraintOp
    | ops.CreateForeignKeyOp
    | ops.CreateCheckConstraintOp
    | ops.CreateIndexOp
)

LABELS: dict[type[Constraint], str] = {
    PrimaryKeyConstraint: "pkey",
    UniqueConstraint: "key",
    ExcludeConstraint: "excl",
    ForeignKeyConstraint: "fkey",
    CheckConstraint: "check",
}
DROPPED = {"unique": "key", "foreignkey": "fkey", "check": "check"}


def name_unnamed(connection: Connection, operations: Iterable[ops.MigrateOperation]) -> None:
    """Name the constraints and indexes that the models leave unnamed as PostgreSQL would name them.

    Constraints of new tables stay as they are: PostgreSQL names them with the table.
    """
    flat = tuple(flatten(operations))
    taken = _Taken(connection)
    for operation in flat:
        taken.reserve(operation)
    for operation in flat:
        if isinstance(operation, Nameable) and not _has_name(operation):
            table = table_of(operation)
            columns, label = _parts(connection, operation, flat)
            name = taken.of(table).choose(table.name, columns, label, taken.freed[table, label])
            taken.freed[table, label].discard(name)
            if isinstance(operation, ops.CreateIndexOp):
                operation.index_name = conv(name)
            else:
                operation.constraint_name = conv(name)


def _has_name(operation: ops.MigrateOperation) -> bool:
    name = getattr(operation, "index_name", None) or getattr(operation, "constraint_name", None)
    return name is not None


class _Taken:
    """The names in use in each schema of a change, now or when the change is applied."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._schemas: dict[str | None, TakenNames] = {}
        # A constraint that replaces another has its name: the other is renamed to make way.
        self.freed: defaultdict[tuple[TableName, str], set[str]] = defaultdict(set)

    def of(self, table: TableName) -> TakenNames:
        schema = table.schema or self._connection.dialect.default_schema_name
        if schema not in self._schemas:
            self._schemas[schema] = existing_names(self._connection, schema)
        return self._schemas[schema]

    def reserve(self, operation: ops.MigrateOperation) -> None:
        table = table_of(operation)
        match operation:
            case ops.CreateTableOp():
                self._reserve_table(operation)
            case ops.CreateIndexOp() if _has_name(operation):
                self.of(table).take(name_of(operation), "idx")
            case ops.DropIndexOp():
                self.freed[table, "idx"].add(name_of(operation))
            case ops.AddConstraintOp() if operation.constraint_type in DROPPED:
                if _has_name(operation):
                    self.of(table).take(name_of(operation), DROPPED[operation.constraint_type])
            case ops.DropConstraintOp() if operation.constraint_type in DROPPED:
                self.freed[table, DROPPED[operation.constraint_type]].add(name_of(operation))

    def _reserve_table(self, operation: ops.CreateTableOp) -> None:
        table, taken = table_of(operation), self.of(table_of(operation))
        taken.relations.add(table.name)
        for constraint in operation.to_table().constraints:
            labels = (label for kind, label in LABELS.items() if isinstance(constraint, kind))
            label = next(labels, "check")
            if isinstance(constraint.name, str):
                taken.take(shortened(constraint.name), label)
            else:
                taken.choose(table.name, _columns(constraint), label)


def _columns(constraint: Constraint) -> list[str]:
    """The columns in the name of a constraint of a table that PostgreSQL does not know yet."""
    match constraint:
        case ForeignKeyConstraint():
            return list(constraint.column_keys)
        case UniqueConstraint() | ExcludeConstraint():
            return [column.name for column in constraint.columns]
        case CheckConstraint() if len(constraint.columns) == 1:
            return [column.name for column in constraint.columns]
        case _:
            return []


def _parts(
    connection: Connection, operation: Nameable, change: Iterable[ops.MigrateOperation]
) -> tuple[list[str], str]:
    """The columns and the label in the name of a constraint."""
    match operation:
        case ops.CreateUniqueConstraintOp():
            return [str(column) for column in operation.columns], "key"
        case ops.CreateForeignKeyOp():
            return operation.local_cols, "fkey"
        case ops.CreateIndexOp():
            return index_columns(operation.to_index()), "idx"
        case ops.CreateCheckConstraintOp():
            table = table_of(operation)
            added = [
                other.column
                for other in change
                if isinstance(other, ops.AddColumnOp) and table_of(other) == table
            ]
            columns = probe.columns_of_check(connection, table, operation.to_constraint(), added)
            return columns if len(columns) == 1 else [], "check"


def existing_names(connection: Connection, schema: str | None) -> TakenNames:
    """Return the names in use in a schema."""
    names = TakenNames()
    for relation, constraint in connection.execute(EXISTING, {"schema": schema}):
        (names.constraints if relation is None else names.relations).add(relation or constraint)
    return names


EXISTING = text("""
SELECT relname, NULL FROM pg_class
JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = :schema
UNION ALL
SELECT NULL, conname FROM pg_constraint
JOIN pg_namespace AS n ON n.oid = connamespace WHERE nspname = :schema
""")
