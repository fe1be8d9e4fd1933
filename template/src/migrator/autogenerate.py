"""What `alembic revision --autogenerate` writes, through Alembic's documented hooks."""

from collections.abc import Iterable
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Enum
from sqlalchemy.types import TypeDecorator, TypeEngine

from migrator.enums import add_enums, render_enum


def render_item(
    application: str, kind: str, item: Any, context: AutogenContext
) -> str | Literal[False]:
    """Write types from outside SQLAlchemy so that the migration stands alone.

    A type of a library gets the import it needs. A type of the application becomes the SQLAlchemy
    type beneath it: a migration must still run when the code around it has moved on.

    Args:
        application: the name of the application's package.

    Returns:
        The code, or False where Alembic's own rendering is right.
    """
    if kind != "type" or not isinstance(item, TypeEngine):
        return False
    if isinstance(item, Enum) and item.native_enum:
        return render_enum(item, context)
    module = type(item).__module__
    package = module.partition(".")[0]
    if package == application and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    if package != "sqlalchemy":
        context.imports.add(f"import {module}")
    return False


def process_revision_directives(
    context: MigrationContext,
    revision: str | Iterable[str | None] | Iterable[str],
    directives: list[MigrationScript],
) -> None:
    """Write no file where the models and the schema agree, and say so."""
    config = context.config
    if config is None or not getattr(config.cmd_opts, "autogenerate", False):
        return
    [script] = directives
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None or context.connection is None:
        return
    if upgrade.is_empty():
        directives.clear()
        config.print_stdout("No change: the models and the schema agree, so no file was written.")
        return
    add_enums(context.connection, context.opts["target_metadata"], upgrade, downgrade)
