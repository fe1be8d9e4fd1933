"""What `alembic revision --autogenerate` writes, through Alembic's documented hooks."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.context import get_x_argument
from alembic.operations.ops import DowngradeOps, MigrationScript, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Enum, MetaData
from sqlalchemy.types import TypeDecorator, TypeEngine

# Registers its comparison.
from slipway.autogenerate import checks  # noqa: F401
from slipway.autogenerate.enums import add_enums, render_enum
from slipway.autogenerate.plan import plan
from slipway.autogenerate.step import Phase, Step
from slipway.queries import BACKFILL_PROGRESS


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


def include_name(
    metadata: MetaData, name: str | None, kind: str, _parents: Mapping[str, str | None]
) -> bool:
    """Leave alone what backfills note, and schemas that no model names; None is the default one."""
    if kind == "table":
        return name != BACKFILL_PROGRESS
    if kind != "schema":
        return True
    return name in {None, *(table.schema for table in metadata.tables.values())}


def process_revision_directives(
    context: MigrationContext,
    revision: str | Iterable[str | None] | Iterable[str],
    directives: list[MigrationScript],
) -> None:
    """Write a change as the revisions that can run while the service works.

    Each step of `slipway.autogenerate.plan` becomes a revision; the reasons stand in its
    docstring. With `-x unsafe` it is one revision, as Alembic writes it. Where the models and the
    schema agree, no file is written.
    """
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
    add_enums(context.connection, context.opts["target_metadata"], upgrade)
    notes: dict[str | None, Note] = config.attributes.setdefault("notes", {})
    if "unsafe" in get_x_argument():
        upgrade.reverse_into(downgrade)
        notes[script.rev_id] = Note(UNSAFE)
        return
    steps = plan(context.connection, upgrade.ops)
    directives[:] = _chain(script, steps)
    if len(steps) > 1:
        config.print_stdout(
            f"{len(steps)} revisions, so that the service can work while they run; "
            "each says why it is one of its own."
        )
    for written, step in zip(directives, steps, strict=True):
        notes[written.rev_id] = Note("\n\n".join(step.why), step.phase is Phase.CONTRACT)


@dataclass(frozen=True)
class Note:
    """What a revision says about itself, beside its code; `script.py.mako` writes it."""

    why: str
    is_contract: bool = False

    def docstring(self) -> str:
        paragraphs = self.why.replace("\\", "\\\\").split("\n\n")
        return "\n\n".join(textwrap.fill(paragraph, 95) for paragraph in paragraphs)


UNSAFE = (
    "Written with `-x unsafe`: one revision, as Alembic writes it, which may lock, rewrite or "
    "break what is in use. For a maintenance window, or for tables that nobody uses."
)


def _chain(script: MigrationScript, steps: list[Step]) -> list[MigrationScript]:
    """One script for each step, each on top of the one before."""
    if len(steps) == 1:
        names, ids = [""], [script.rev_id]
    else:
        names = _names(steps)
        width = len(str(len(steps)))
        ids = [f"{script.rev_id}_{number:0{width}}" for number in range(1, len(steps) + 1)]
    return [
        MigrationScript(
            rev_id,
            UpgradeOps(step.upgrade),
            DowngradeOps(step.downgrade),
            message=" ".join(filter(None, [script.message, name])) or None,
            head=before or script.head,
            splice=script.splice if before is None else None,
            branch_label=script.branch_label if before is None else None,
            version_path=script.version_path,
            depends_on=script.depends_on if before is None else None,
        )
        for rev_id, name, step, before in zip(ids, names, steps, [None, *ids], strict=False)
    ]


def _names(steps: list[Step]) -> list[str]:
    """What each step is for; of which object too, where several are for the same."""
    phases = [step.phase for step in steps]
    words = []
    for step in steps:
        purpose = "" if step.phase is Phase.EXPAND else step.phase.name.lower().replace("_", " ")
        subject = step.subject if phases.count(step.phase) > 1 else ""
        words.append(" ".join(filter(None, [purpose, subject])))
    return words
