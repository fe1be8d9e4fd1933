"""A schema change as autogenerate found it, and what its parts need to know about each other."""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from alembic.operations import ops
from sqlalchemy import Connection

from slipway.autogenerate.dialect import quoted
from slipway.autogenerate.names import shortened


class TableName(NamedTuple):
    name: str
    schema: str | None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def quoted(self) -> str:
        return quoted(self.schema, self.name)


@dataclass(frozen=True)
class SchemaChange:
    """All operations of a change, and the database that was compared with the models."""

    connection: Connection
    operations: tuple[ops.MigrateOperation, ...]
    documentation: str = ""

    def advice(self, text: str) -> str:
        """Add to advice where more about it is written, if the project has said so."""
        return f"{text} See {self.documentation}." if self.documentation else text

    @cached_property
    def created(self) -> frozenset[TableName]:
        return self._tables(ops.CreateTableOp)

    @cached_property
    def dropped(self) -> frozenset[TableName]:
        return self._tables(ops.DropTableOp)

    def _tables(self, kind: type[ops.MigrateOperation]) -> frozenset[TableName]:
        return frozenset(table_of(found) for found in self.operations if isinstance(found, kind))

    @cached_property
    def replaced(self) -> frozenset[tuple[TableName, str]]:
        """Indexes and constraints that are replaced under the same name."""
        removed, added = set(), set()
        for operation in self.operations:
            match operation:
                case ops.DropIndexOp() | ops.DropConstraintOp():
                    removed.add((table_of(operation), name_of(operation)))
                case ops.CreateIndexOp() | ops.AddConstraintOp():
                    added.add((table_of(operation), name_of(operation)))
        return frozenset(removed & added)

    def foreign_keys_of(self, table: TableName) -> list[ops.CreateForeignKeyOp]:
        keys = (op for op in self.operations if isinstance(op, ops.CreateForeignKeyOp))
        return [key for key in keys if table_of(key) == table]

    def needs_new_unique(self, key: ops.CreateForeignKeyOp) -> bool:
        """Whether a foreign key leads to columns that become unique in this change."""
        return any(
            isinstance(operation, ops.CreateUniqueConstraintOp)
            and table_of(operation) == target_of(key)
            and set(operation.columns) == set(key.remote_cols)
            for operation in self.operations
        )


def table_of(operation: ops.MigrateOperation) -> TableName:
    """The table of an operation; one without a name where it has none."""
    match operation:
        case ops.CreateForeignKeyOp():
            return TableName(operation.source_table, operation.kw["source_schema"])
        case (
            ops.AlterTableOp()
            | ops.CreateTableOp()
            | ops.DropTableOp()
            | ops.CreateIndexOp()
            | ops.DropIndexOp()
            | ops.DropConstraintOp()
            | ops.CreateUniqueConstraintOp()
            | ops.CreateCheckConstraintOp()
        ):
            return TableName(str(operation.table_name), operation.schema)
        case _:
            return TableName("", None)


def target_of(key: ops.CreateForeignKeyOp) -> TableName:
    return TableName(key.referent_table, key.kw["referent_schema"])


def name_of(operation: ops.MigrateOperation) -> str:
    """The name of an index or a constraint in the database."""
    name = getattr(operation, "index_name", None) or getattr(operation, "constraint_name", "")
    return shortened(str(name))


def flatten(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    """Operations without their containers, each with a single purpose."""
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from flatten(operation.ops)
        elif isinstance(operation, ops.AlterColumnOp):
            yield from _single_alterations(operation)
        else:
            yield operation


UNCHANGED: dict[str, Any] = {
    "modify_type": None,
    "modify_server_default": False,
    "modify_comment": False,
    "modify_nullable": None,
}


def _single_alterations(operation: ops.AlterColumnOp) -> Iterator[ops.AlterColumnOp]:
    """Alembic makes one operation of all that changes in a column; each has its own form."""
    for changed, nothing in UNCHANGED.items():
        if getattr(operation, changed) is not nothing:
            single = copy(operation)
            for name in UNCHANGED.keys() - {changed}:
                setattr(single, name, UNCHANGED[name])
            if changed == "modify_nullable" and operation.modify_server_default is not False:
                single.existing_server_default = operation.modify_server_default
            yield single
