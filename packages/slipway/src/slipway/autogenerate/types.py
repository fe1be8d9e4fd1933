"""Types of columns: how migrations name them, and what happens when they change."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Enum
from sqlalchemy.types import TypeDecorator, TypeEngine

from slipway.autogenerate import probe
from slipway.autogenerate.custom_operations import TodoOp
from slipway.autogenerate.enums import render_enum
from slipway.autogenerate.planned_revision import Phase, PlannedRevision
from slipway.autogenerate.schema_change import SchemaChange, table_of

CHANGES_TYPE = (
    "this writes or reads all of {table} while nobody else can use it, and the running version "
    "meets a type that it does not expect."
)


def render_type(item: TypeEngine[Any], context: AutogenContext) -> str | Literal[False]:
    """Write a type from outside SQLAlchemy so that the migration stands alone."""
    if isinstance(item, Enum) and item.native_enum:
        return render_enum(item, context)
    module = type(item).__module__
    if isinstance(item, TypeDecorator) and not _is_installed(module):
        return f"sa.{item.impl_instance!r}"
    if module.partition(".")[0] != "sqlalchemy":
        context.imports.add(f"import {module}")
    return False


def _is_installed(module: str) -> bool:
    """Whether a module is a library's; the application's may be installed too, but as editable."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return bool({"site-packages", "dist-packages"} & set(Path(file).parts))


def change_type(
    operation: ops.AlterColumnOp, plain: PlannedRevision, change: SchemaChange
) -> Iterator[PlannedRevision]:
    """Change a type where PostgreSQL need not touch the rows; elsewhere the author has to act."""
    table = table_of(operation)
    name = f"{table}.{operation.column_name}"
    if probe.is_free(change.connection, operation):
        yield replace(
            plain,
            why=(
                f"PostgreSQL widens the type of {name} without writing or reading the table: tried "
                "on an empty copy of it.",
            ),
        )
        return
    yield replace(
        plain,
        phase=Phase.TYPE,
        upgrade=(TodoOp(change.advice(CHANGES_TYPE.format(table=table))), operation),
        why=(
            f"The type of {name} cannot be changed while the service works. Instead, add a new "
            "column of the new type, write both, fill the new one in batches, read it, and drop "
            "the old one in a later release.",
        ),
    )
