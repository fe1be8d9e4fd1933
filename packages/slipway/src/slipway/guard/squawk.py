"""The second opinion of squawk, where it is installed, under our names where we have the rule."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from slipway.guard.judge import SecondOpinion
from slipway.guard.record import RecordedStatement
from slipway.guard.rule import RULES, contract_reason
from slipway.guard.suppress import FOREIGN
from slipway.project.configuration import ProjectError
from slipway.project.source import Source
from slipway.report import Finding, filled

OURS = {
    "adding-foreign-key-constraint": "foreign-key-scan",
    "adding-not-nullable-field": "set-not-null-scan",
    "adding-required-field": "required-column",
    "adding-field-with-default": "volatile-default",
    "adding-serial-primary-key-field": "primary-key-scan",
    "ban-concurrent-index-creation-in-transaction": "concurrently-in-transaction",
    "ban-drop-column": "drop-column",
    "ban-drop-database": "cascade",
    "ban-drop-not-null": "drop-not-null",
    "ban-drop-table": "drop-table",
    "ban-truncate-cascade": "cascade",
    "changing-column-type": "change-column-type",
    "constraint-missing-not-valid": "check-scan",
    "disallowed-unique-constraint": "unique-scan",
    "prefer-timestamp-tz": "naive-timestamp",
    "renaming-column": "rename-column",
    "renaming-table": "rename-table",
    "require-concurrent-index-creation": "index-not-concurrent",
    "require-concurrent-index-deletion": "drop-index-not-concurrent",
    "transaction-nesting": "manual-commit",
}
# The runner sets timeouts; and IF NOT EXISTS accepts an INVALID index.
UNWANTED = ("require-lock-timeout", "require-statement-timeout", "prefer-robust-stmts")


def second_opinion(postgresql: int) -> SecondOpinion:
    """What asks squawk.

    Raises:
        ProjectError: it is not installed.
    """
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("squawk", path=folders)
    if not program:
        raise ProjectError("squawk is not installed: uv add --dev squawk-cli")
    return partial(_ask, program, postgresql)


def _ask(
    program: str, postgresql: int, statements: Sequence[tuple[Source, RecordedStatement]]
) -> list[Finding]:
    options = [f"--exclude={name}" for name in UNWANTED]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, list[tuple[Source, RecordedStatement] | None]] = {}
        for number, (_, group) in enumerate(groupby(statements, lambda pair: pair[0].file)):
            file = Path(folder, f"{number}.sql")
            text, places[str(file)] = _lines(list(group))
            file.write_text(text, encoding="utf-8")
        if not places:
            return []
        command = [program, "--reporter=json", f"--pg-version={postgresql}.0", *options, *places]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", check=False
        )
        try:
            for item in json.loads(done.stdout):
                place = places[item["file"]][item["line"]]
                found += [_finding(item, *place)] if place else []
        except (ValueError, KeyError, IndexError) as error:
            said = (done.stderr.strip().splitlines() or [repr(error)])[-1]
            raise ProjectError(f"squawk: {said}") from error
    return found


def _lines(
    statements: list[tuple[Source, RecordedStatement]],
) -> tuple[str, list[tuple[Source, RecordedStatement] | None]]:
    """The SQL of a revision with its transactions, and whose each line is."""
    lines: list[str] = []
    places: list[tuple[Source, RecordedStatement] | None] = []

    def add(text: str, place: tuple[Source, RecordedStatement] | None) -> None:
        added = text.split("\n")
        lines.extend(added)
        places.extend([place] * len(added))

    keys = groupby(statements, lambda pair: (pair[1].transaction, pair[1].autocommit))
    for (_, autocommit), group in keys:
        add("" if autocommit else "BEGIN;", None)
        for place in group:
            add(f"{place[1].sql}\n;", place)
        add("" if autocommit else "COMMIT;", None)
    return "\n".join(lines) + "\n", places


def _finding(item: dict[str, Any], source: Source, recorded: RecordedStatement) -> Finding:
    name = item["rule_name"]
    ours = RULES.get(OURS.get(name, ""))
    line, *callers = recorded.lines or (1,)
    return Finding(
        rule=ours.name if ours else FOREIGN + name,
        severity="error" if item["level"] == "Error" else "warning",
        message=f"squawk: {item['message']}",
        instead=filled(ours.instead) if ours else item.get("help") or "",
        file=source.file,
        line=line,
        callers=tuple(callers),
        revision=source.revision,
        sql=recorded.sql,
        reason=contract_reason(source, ours) if ours else "",
    )
