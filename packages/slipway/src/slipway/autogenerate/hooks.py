"""What `alembic revision --autogenerate` writes, through Alembic's documented hooks."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.context import get_x_argument
from alembic.operations.ops import MigrationScript, UpgradeOps
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.types import TypeEngine

# These register their comparisons.
from slipway.autogenerate import compare_checks, compare_indexes  # noqa: F401
from slipway.autogenerate.dialect import DIALECT
from slipway.autogenerate.enums import Metadata, add_enums, metadata_list
from slipway.autogenerate.plan import plan
from slipway.autogenerate.planned_revision import Phase
from slipway.autogenerate.revision_files import Note, add_note, chain
from slipway.autogenerate.types import render_type
from slipway.autogenerate.unnamed import name_unnamed
from slipway.project.configuration import ProjectError, load
from slipway.queries import BACKFILL_PROGRESS


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write types from outside SQLAlchemy so that the migration stands alone.

    A type of a library gets the import it needs. A type of the application becomes the SQLAlchemy
    type beneath it: a migration must still run when the code around it has changed.

    Returns:
        The code, or False where Alembic's own rendering is right.
    """
    if kind != "type" or not isinstance(item, TypeEngine):
        return False
    return render_type(item, context)


def include_name(
    metadata: Metadata,
    name: str | None,
    kind: str,
    _parents: Mapping[str, str | None],
) -> bool:
    """Leave alone what backfills note, and schemas that no model names; None is the default one."""
    if kind == "table":
        return name != BACKFILL_PROGRESS
    if kind != "schema":
        return True
    tables = (table for each in metadata_list(metadata) for table in each.tables.values())
    return name in {None, *(table.schema for table in tables)}


def process_revision_directives(
    context: MigrationContext,
    revision: str | Iterable[str | None] | Iterable[str],
    directives: list[MigrationScript],
) -> None:
    """Write a change as the revisions that can run while the service works.

    Each planned revision (`slipway.autogenerate.plan`) becomes a file that says why it exists. With
    `-x unsafe`, or where a revision is for several databases, it is one, as Alembic writes it.
    Where the models and the schema agree, no file is written.
    """
    config = context.config
    if config is None or not getattr(config.cmd_opts, "autogenerate", False):
        return
    # With the dialect of a driver that doubles it, Alembic would write each % twice into files.
    context.impl.dialect = DIALECT
    if context.opts["upgrade_token"] != ONE_DATABASE:
        _complete_last(context, directives)
        return
    scripts = [script for script in directives if not _is_empty(script)]
    directives[:] = []
    renamed: dict[str | None, str | None] = {}
    for script in scripts:
        script.head = renamed.get(script.head, script.head)
        written = _write(context, config, script)
        renamed[script.rev_id] = written[-1].rev_id
        directives += written
    if not scripts:
        config.print_stdout("No change: the models and the schema agree, so no file was written.")
    elif len(directives) > 1:
        config.print_stdout(
            f"{len(directives)} revisions, so that the service can work while they run; "
            "each says why it exists."
        )


# Templates for several databases have a name of their own for the code of each.
ONE_DATABASE = "upgrades"


def _is_empty(script: MigrationScript) -> bool:
    return script.upgrade_ops is None or script.upgrade_ops.is_empty()


def _write(
    context: MigrationContext, config: Config, script: MigrationScript
) -> list[MigrationScript]:
    """Return the scripts to write instead of one that Alembic made."""
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None or context.connection is None:
        return [script]
    _complete(context, context.connection, upgrade)
    if "unsafe" in get_x_argument():
        upgrade.reverse_into(downgrade)
        add_note(config, script, Note(UNSAFE))
        return [script]
    revisions = plan(context.connection, upgrade.ops, _documentation(config))
    scripts = chain(script, revisions)
    for written, revision in zip(scripts, revisions, strict=True):
        note = Note("\n\n".join(revision.why), revision.phase is Phase.CONTRACT)
        add_note(config, written, note)
    return scripts


def _documentation(config: Config) -> str:
    """The setting `documentation` of the project that Alembic was started in."""
    named = (config.config_file_name, config.toml_file_name)
    files = [file for file in named if file and Path(file).is_file()]
    if not files:
        return ""
    try:
        return load(Path.cwd(), files, config.config_ini_section).documentation
    except ProjectError as error:
        raise CommandError(str(error)) from error


def _complete(context: MigrationContext, connection: Connection, upgrade: UpgradeOps) -> None:
    """Add what Alembic leaves out: the names of constraints, and the types of enums."""
    name_unnamed(connection, upgrade.ops)
    add_enums(connection, context.opts["target_metadata"], upgrade)


def _complete_last(context: MigrationContext, directives: Sequence[MigrationScript]) -> None:
    """Complete what one script has for one of several databases; Alembic writes the rest."""
    for script in directives:
        upgrade, downgrade = script.upgrade_ops_list[-1], script.downgrade_ops_list[-1]
        if context.connection is not None and not upgrade.is_empty():
            _complete(context, context.connection, upgrade)
            upgrade.reverse_into(downgrade)


UNSAFE = (
    "Written with `-x unsafe`: one revision, as Alembic writes it, which may lock, rewrite or "
    "break what is in use. For a maintenance window, or for tables that nobody uses."
)
