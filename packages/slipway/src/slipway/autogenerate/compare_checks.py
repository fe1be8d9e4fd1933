"""Compares checks by their conditions.

Alembic's own plugin compares names only, takes one that SQLAlchemy shortened for another, and
proposes to drop each that has no name in the models.
"""

from collections.abc import Sequence

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import CheckConstraint, Connection, Table, inspect
from sqlalchemy.schema import AddConstraint

from slipway.autogenerate.dialect import DIALECT
from slipway.autogenerate.names import shortened
from slipway.autogenerate.probe import is_condition, is_readable


@comparators.dispatch_for("table")
def compare_checks(
    context: AutogenContext,
    operations: ops.ModifyTableOps,
    schema: str | None,
    name: str,
    in_database: Table | None,
    in_models: Table | None,
) -> None:
    """Find the checks of a table that were added, removed or given another condition."""
    connection = context.connection
    if connection is None or in_database is None or in_models is None:
        return
    checks = [c for c in in_models.constraints if isinstance(c, CheckConstraint) and _is_created(c)]
    named = {shortened(check.name): check for check in checks if isinstance(check.name, str)}
    unnamed = [check for check in checks if not isinstance(check.name, str)]
    for existing in inspect(connection).get_check_constraints(name, schema):
        check_name, condition = str(existing["name"]), existing["sqltext"]
        if check_name in named:
            if is_condition(connection, named[check_name], condition) is not False:
                del named[check_name]
                continue
        # A constraint is false where it knows none of its columns.
        elif (same := _with_condition(connection, unnamed, condition)) is not None:
            unnamed.remove(same)
            continue
        old = CheckConstraint(condition, name=check_name, table=in_database)
        operations.ops.append(ops.DropConstraintOp.from_constraint(old))
    added = [*named.values(), *unnamed]
    operations.ops += [ops.AddConstraintOp.from_constraint(check) for check in added]


def _is_created(check: CheckConstraint) -> bool:
    """Whether PostgreSQL gets it: that of a Boolean or a native Enum is for other databases."""
    rule = check._create_rule
    return rule is None or rule(
        DIALECT.ddl_compiler(DIALECT, AddConstraint(check, isolate_from_table=False))
    )


def _with_condition(
    connection: Connection, checks: Sequence[CheckConstraint], condition: str
) -> CheckConstraint | None:
    """The check that has this condition; where that cannot be decided, any."""
    for check in checks:
        if is_condition(connection, check, condition):
            return check
        if not is_readable(connection, check.table, condition):
            return check
    return None
