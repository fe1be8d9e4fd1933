"""Turns planned revisions into the files that Alembic writes, with their reasons in them.

A `script.py.mako` that reads `config.attributes["notes"]` (see `Note`) has the reasons in the
docstring of the revision; for any other, such as Alembic's own, they are comments in `upgrade()`.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.operations.ops import DowngradeOps, MigrationScript, UpgradeOps
from alembic.script import ScriptDirectory

from slipway.autogenerate.custom_operations import CommentOp
from slipway.autogenerate.planned_revision import Phase, PlannedRevision


@dataclass(frozen=True)
class Note:
    """What a revision says about itself beside its code."""

    why: str
    is_contract: bool = False

    def docstring(self) -> str:
        paragraphs = self.why.replace("\\", "\\\\").split("\n\n")
        return "\n\n".join(textwrap.fill(paragraph, 95) for paragraph in paragraphs)


def add_note(config: Config, script: MigrationScript, note: Note) -> None:
    """Let a revision say this about itself, as its template can."""
    if _reads_notes(Path(ScriptDirectory.from_config(config).dir, "script.py.mako")):
        config.attributes.setdefault("notes", {})[script.rev_id] = note
        return
    if note.why and script.upgrade_ops:
        script.upgrade_ops.ops.insert(0, CommentOp(note.why))
    if note.is_contract:
        # Among the imports, which are sorted: after them.
        phase = 'phase = "contract"  # removes what an older version may still use'
        script.imports = {*script.imports, phase}


def _reads_notes(template: Path) -> bool:
    return bool(re.search(r"""["']notes["']""", template.read_text(encoding="utf-8")))


def chain(script: MigrationScript, revisions: Sequence[PlannedRevision]) -> list[MigrationScript]:
    """Write planned revisions instead of a script, each on top of the one before."""
    if len(revisions) == 1:
        names, ids = [""], [script.rev_id]
    else:
        names = _names(revisions)
        width = len(str(len(revisions)))
        ids = [f"{script.rev_id}_{number:0{width}}" for number in range(1, len(revisions) + 1)]
    return [
        MigrationScript(
            rev_id,
            UpgradeOps(revision.upgrade),
            DowngradeOps(revision.downgrade),
            message=" ".join(filter(None, [script.message, name])) or None,
            head=before or script.head,
            splice=script.splice if before is None else None,
            branch_label=script.branch_label if before is None else None,
            version_path=script.version_path,
            imports=set(script.imports),
            depends_on=script.depends_on if before is None else None,
        )
        for rev_id, name, revision, before in zip(ids, names, revisions, [None, *ids], strict=False)
    ]


def _names(revisions: Sequence[PlannedRevision]) -> list[str]:
    """Name the purpose of each revision, and its object where several have the same purpose."""
    phases = [revision.phase for revision in revisions]
    words = []
    for revision in revisions:
        phase = revision.phase
        purpose = "" if phase is Phase.EXPAND else phase.name.lower().replace("_", " ")
        subject = revision.subject if phases.count(phase) > 1 else ""
        words.append(" ".join(filter(None, [purpose, subject])))
    return words
