"""The operations that safe migrations need beyond Alembic's own, and how each is written."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops


@dataclass
class CreateIndexConcurrentlyOp(ops.MigrateOperation):
    index: ops.CreateIndexOp


@dataclass
class DropIndexConcurrentlyOp(ops.MigrateOperation):
    name: str
    table: str
    schema: str | None


@dataclass
class ValidateConstraintOp(ops.MigrateOperation):
    name: str
    table: str
    schema: str | None


@dataclass
class UpdateInBatchesOp(ops.MigrateOperation):
    table: str
    assignment: str
    where: str
    schema: str | None


@dataclass
class RefuseNullsOp(ops.MigrateOperation):
    table: str
    column: str
    schema: str | None


@dataclass
class NothingOp(ops.MigrateOperation):
    """There is nothing to do, for this reason."""

    reason: str


@dataclass
class TodoOp(ops.MigrateOperation):
    """Something only the author can decide."""

    text: str


@dataclass
class CommentOp(ops.MigrateOperation):
    """Why a revision exists, where its template has no other place for it."""

    text: str


@renderers.dispatch_for(CreateIndexConcurrentlyOp)
def _create_index(context: AutogenContext, operation: CreateIndexConcurrentlyOp) -> str:
    arguments = render_op_text(context, operation.index).partition("create_index(")[2]
    return _helper(context, "create_index_concurrently") + arguments


@renderers.dispatch_for(DropIndexConcurrentlyOp)
def _drop_index(context: AutogenContext, operation: DropIndexConcurrentlyOp) -> str:
    return _helper(context, "drop_index_concurrently") + _place(operation) + ")"


@renderers.dispatch_for(ValidateConstraintOp)
def _validate_constraint(context: AutogenContext, operation: ValidateConstraintOp) -> str:
    return _helper(context, "validate_constraint") + _place(operation) + ")"


@renderers.dispatch_for(UpdateInBatchesOp)
def _update_in_batches(context: AutogenContext, operation: UpdateInBatchesOp) -> str:
    arguments = f"{operation.table!r}, {operation.assignment!r}, where={operation.where!r}"
    return _helper(context, "update_in_batches") + arguments + _schema(operation) + ")"


@renderers.dispatch_for(RefuseNullsOp)
def _refuse_nulls(context: AutogenContext, operation: RefuseNullsOp) -> str:
    arguments = f"{operation.table!r}, {operation.column!r}"
    return _helper(context, "refuse_nulls") + arguments + _schema(operation) + ")"


@renderers.dispatch_for(NothingOp)
def _nothing(_: AutogenContext, operation: NothingOp) -> str:
    return f"pass  # {operation.reason}"


@renderers.dispatch_for(TodoOp)
def _todo(_: AutogenContext, operation: TodoOp) -> Sequence[str]:
    return _commented(f"TODO: {operation.text}")


@renderers.dispatch_for(CommentOp)
def _comment(_: AutogenContext, operation: CommentOp) -> Sequence[str]:
    paragraphs = (_commented(paragraph) for paragraph in operation.text.split("\n\n"))
    return [line for paragraph in paragraphs for line in ("#", *paragraph)][1:]


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, 90, initial_indent="# ", subsequent_indent="# ")


def _helper(context: AutogenContext, name: str) -> str:
    context.imports.add(f"from slipway.operations import {name}")
    return f"{name}("


def _place(operation: DropIndexConcurrentlyOp | ValidateConstraintOp) -> str:
    return f"op.f({operation.name!r}), {operation.table!r}{_schema(operation)}"


def _schema(
    operation: DropIndexConcurrentlyOp | ValidateConstraintOp | UpdateInBatchesOp | RefuseNullsOp,
) -> str:
    return f", schema={operation.schema!r}" if operation.schema else ""
