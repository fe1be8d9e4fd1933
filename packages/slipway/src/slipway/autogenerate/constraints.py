"""Indexes and constraints that are added, replaced or dropped."""

from collections.abc import Iterator
from dataclasses import replace

from alembic.operations import ops
from sqlalchemy.schema import AddConstraint
from sqlalchemy.sql.elements import conv

from slipway.autogenerate.columns import inline_foreign_key
from slipway.autogenerate.custom_operations import (
    CreateIndexConcurrentlyOp,
    DropIndexConcurrentlyOp,
    NothingOp,
    ValidateConstraintOp,
)
from slipway.autogenerate.dialect import DIALECT, quoted
from slipway.autogenerate.names import shortened
from slipway.autogenerate.planned_revision import (
    Phase,
    PlannedRevision,
    plain_revision,
    revisions_for,
)
from slipway.autogenerate.schema_change import SchemaChange, name_of, table_of, target_of


@revisions_for.register
def _add_index(operation: ops.CreateIndexOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    if table_of(operation) in change.created:
        yield plain_revision(operation, change)
    else:
        yield from _make_way(operation, change)
        yield _build(operation)


def _build(operation: ops.CreateIndexOp) -> PlannedRevision:
    name, table = name_of(operation), table_of(operation)
    operation.index_name = conv(name)
    return PlannedRevision(
        phase=Phase.INDEX,
        subject=name,
        upgrade=(CreateIndexConcurrentlyOp(operation),),
        downgrade=(DropIndexConcurrentlyOp(name, table.name, table.schema),),
        why=(
            f"Builds {name} while {table} is read and written. That cannot be done in a "
            "transaction, so it stands alone.",
        ),
        alone=True,
    )


@revisions_for.register
def _add_unique(
    operation: ops.CreateUniqueConstraintOp, change: SchemaChange
) -> Iterator[PlannedRevision]:
    if table_of(operation) in change.created:
        yield plain_revision(operation, change)
        return
    name, index = name_of(operation), _index_of(operation)
    yield from _make_way(operation, change)
    yield _build(index)
    drop = ops.DropConstraintOp(
        *(conv(name), operation.table_name, "unique"), schema=operation.schema, if_exists=True
    )
    yield replace(
        plain_revision(operation, change),
        phase=Phase.UNIQUE,
        subject=name,
        upgrade=(_attach(operation, change),),
        # Without the constraint its index is gone; the revision before has it.
        downgrade=(drop, CreateIndexConcurrentlyOp(index)),
        why=(f"Makes {name} a constraint of the index that is there: nothing is scanned.",),
    )


def _index_of(operation: ops.CreateUniqueConstraintOp) -> ops.CreateIndexOp:
    options = {key: value for key, value in operation.kw.items() if key.startswith("postgresql_")}
    return ops.CreateIndexOp(
        conv(name_of(operation)),
        operation.table_name,
        operation.columns,
        schema=operation.schema,
        unique=True,
        **options,
    )


def _attach(operation: ops.CreateUniqueConstraintOp, change: SchemaChange) -> ops.ExecuteSQLOp:
    name = quoted(name_of(operation))
    constraint = AddConstraint(operation.to_constraint())
    deferrability = str(constraint.compile(dialect=DIALECT)).rpartition(")")[2]
    return ops.ExecuteSQLOp(
        f"ALTER TABLE {table_of(operation).quoted} "
        f"ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{deferrability}"
    )


@revisions_for.register(ops.CreateForeignKeyOp)
@revisions_for.register(ops.CreateCheckConstraintOp)
def _add_constraint(
    operation: ops.CreateForeignKeyOp | ops.CreateCheckConstraintOp, change: SchemaChange
) -> Iterator[PlannedRevision]:
    table, name, phase = table_of(operation), name_of(operation), Phase.EXPAND
    if isinstance(operation, ops.CreateForeignKeyOp):
        if _comes_with_its_column(operation, change):
            return
        if change.needs_new_unique(operation) and target_of(operation) not in change.created:
            phase = Phase.CONSTRAIN
    if table in change.created:
        yield replace(plain_revision(operation, change), phase=phase)
        return
    yield from _make_way(operation, change)
    yield replace(
        plain_revision(operation, change),
        phase=phase,
        upgrade=(_not_valid(operation),),
        why=(
            f"{name} is added NOT VALID: it holds for all that is written from here on, and no "
            "table is scanned. A later revision checks the rows that are there.",
        ),
    )
    yield PlannedRevision(
        phase=Phase.VALIDATE,
        subject=str(table),
        upgrade=(ValidateConstraintOp(name, table.name, table.schema),),
        downgrade=(NothingOp("what is checked here goes with the revision that added it"),),
        why=(
            f"Checks {name} for the rows that were there before it, while reads and writes go on. "
            "A row that breaks it ends this revision: mend the row and run it again.",
        ),
    )


def _comes_with_its_column(key: ops.CreateForeignKeyOp, change: SchemaChange) -> bool:
    added = (found for found in change.operations if isinstance(found, ops.AddColumnOp))
    return any(inline_foreign_key(operation, change) is key for operation in added)


def _not_valid(operation: ops.MigrateOperation) -> ops.MigrateOperation:
    if isinstance(operation, ops.CreateForeignKeyOp | ops.CreateCheckConstraintOp):
        constraint = operation.to_constraint()
        constraint.dialect_options["postgresql"]["not_valid"] = True
        return ops.AddConstraintOp.from_constraint(constraint)
    return operation


def _make_way(operation: ops.MigrateOperation, change: SchemaChange) -> Iterator[PlannedRevision]:
    """Rename what is replaced under its own name, so that it works until its successor exists."""
    table, name = table_of(operation), name_of(operation)
    if (table, name) not in change.replaced:
        return
    old = shortened(name, "old")

    def rename(before: str, after: str) -> ops.ExecuteSQLOp:
        if isinstance(operation, ops.CreateIndexOp):
            what, before = f"INDEX {quoted(table.schema, before)}", ""
        else:
            what, before = f"TABLE {table.quoted}", f"CONSTRAINT {quoted(before)} "
        return ops.ExecuteSQLOp(f"ALTER {what} RENAME {before}TO {quoted(after)}")

    yield replace(
        plain_revision(operation, change),
        upgrade=(rename(name, old),),
        downgrade=(rename(old, name),),
        why=(f"{name} changes: the one that is there serves as {old} until the new one does.",),
    )


@revisions_for.register
def _drop_index(operation: ops.DropIndexOp, change: SchemaChange) -> Iterator[PlannedRevision]:
    table, index = table_of(operation), operation.reverse()
    if table in change.dropped:
        # It goes with its table, and comes back with it.
        yield replace(plain_revision(operation, change), phase=Phase.CONTRACT, rank=2, upgrade=())
        return
    index.index_name = conv(_current_name(operation, change))
    build = _build(index)
    yield replace(
        build,
        phase=Phase.CONTRACT,
        upgrade=build.downgrade,
        downgrade=build.upgrade,
        why=(f"Drops {index.index_name} while {table} is read and written.",),
    )


@revisions_for.register
def _drop_constraint(
    operation: ops.DropConstraintOp, change: SchemaChange
) -> Iterator[PlannedRevision]:
    name = _current_name(operation, change)
    operation.constraint_name = conv(name)
    back = operation.reverse()
    downgrade: tuple[ops.MigrateOperation, ...] = (_not_valid(back),)
    if isinstance(back, ops.CreateUniqueConstraintOp):
        downgrade = (CreateIndexConcurrentlyOp(_index_of(back)), _attach(back, change))
    yield replace(
        plain_revision(operation, change),
        phase=Phase.CONTRACT,
        downgrade=downgrade,
        why=(
            f"{name} goes: from here on the database allows what it forbade. Reverting brings it "
            "back for what is written from then on.",
        ),
    )


def _current_name(operation: ops.DropIndexOp | ops.DropConstraintOp, change: SchemaChange) -> str:
    name = name_of(operation)
    is_replaced = (table_of(operation), name) in change.replaced
    return shortened(name, "old") if is_replaced else name
