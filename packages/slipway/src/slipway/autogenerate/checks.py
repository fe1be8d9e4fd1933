"""Compares checks by their conditions.

Alembic's own plugin compares names only, and takes one that SQLAlchemy shortened for another.
"""

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import CheckConstraint, Table, inspect

from slipway.autogenerate.change import shortened
from slipway.autogenerate.probe import is_condition


@comparators.dispatch_for("table")
def compare_checks(
    context: AutogenContext,
    operations: ops.ModifyTableOps,
    schema: str | None,
    name: str,
    in_database: Table | None,
    in_models: Table | None,
) -> None:
    """Find the checks of a table that come, go or have another condition in the models."""
    if context.connection is None or in_database is None or in_models is None:
        return
    reflected = inspect(context.connection).get_check_constraints(name, schema)
    there = {str(check["name"]): check["sqltext"] for check in reflected}
    wanted = {
        shortened(str(check.name)): check
        for check in in_models.constraints
        if isinstance(check, CheckConstraint) and check.name is not None
    }
    for check_name, condition in there.items():
        check = wanted.get(check_name)
        # What cannot be told is not said to differ.
        if check is not None and is_condition(context.connection, check, condition) is not False:
            del wanted[check_name]
        else:
            old = CheckConstraint(condition, name=check_name, table=in_database)
            operations.ops.append(ops.DropConstraintOp.from_constraint(old))
    operations.ops += [ops.AddConstraintOp.from_constraint(check) for check in wanted.values()]
