"""Projects with migrations that the guard looks at, and what it says of them."""

import inspect
import io
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.operations import Operations

from packages.slipway.tests.processes import environment
from packages.slipway.tests.rows import ROOT
from slipway.__main__ import main

CONFIGURATION = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
REVISION = """\
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg
from slipway.operations import *
{module}

revision = {revision!r}
down_revision = {before!r}


def upgrade():
{upgrade}


def downgrade():
{downgrade}
"""
HELPERS = """
from alembic import op


def drop_age(table):
    op.drop_column(table, "age")
"""
REVERT = 'op.execute("SELECT 1")'


@dataclass(frozen=True)
class Answer:
    code: int
    printed: str
    errors: str

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.printed)
        return report

    def rules(self, revision: str | None = None) -> list[str]:
        found = self.report["findings"]
        return sorted(f["rule"] for f in found if revision in (None, f["revision"]))


@dataclass(frozen=True)
class GuardProject:
    folder: Path

    @property
    def versions(self) -> Path:
        return self.folder / "migrations/versions"

    def configure(self, text: str = "") -> None:
        self.versions.mkdir(parents=True, exist_ok=True)
        (self.folder / "pyproject.toml").write_text(CONFIGURATION + text)

    def add(
        self,
        revision: str,
        upgrade: str = "pass",
        before: str | tuple[str, ...] | None = None,
        *,
        module: str = "",
        downgrade: str = REVERT,
    ) -> Path:
        """Write a revision with this code; return its file."""
        if not self.versions.exists():
            self.configure()
        code = REVISION.format(
            revision=revision,
            before=before,
            module=module,
            upgrade=textwrap.indent(upgrade.strip() or "pass", "    "),
            downgrade=textwrap.indent(downgrade.strip(), "    "),
        )
        return self.write(revision, code)

    def write(self, name: str, code: str | bytes) -> Path:
        if not self.versions.exists():
            self.configure()
        file = self.versions / f"{name}.py"
        file.write_bytes(code if isinstance(code, bytes) else code.encode())
        return file

    def guard(self, *arguments: str | Path) -> Answer:
        """Run the command within this process, as JSON unless another format is asked for."""
        options = list(map(str, arguments))
        if "--format" not in options:
            options += ["--format", "json"]
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(["guard", *options])
            except SystemExit as end:
                code = int(str(end.code))
        out.seek(0)
        return Answer(code, out.read(), err.getvalue())

    def process(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command as users do."""
        return subprocess.run(
            [sys.executable, "-m", "slipway", "guard", *map(str, arguments)],
            cwd=self.folder,
            env=environment({"PYTHONPATH": str(ROOT / "template/src")}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@dataclass(frozen=True)
class Case:
    """The body of an upgrade, after revisions with the bodies `before`, and what it breaks."""

    id: str
    upgrade: str
    rules: Sequence[str] = ()
    before: Sequence[str] = ()
    module: str = ""
    downgrade: str = REVERT
    note: str = ""
    facts: Sequence[str] = ()
    renders_offline: bool = True

    def expected(self) -> list[str]:
        # What cannot be rendered is said to be so, besides what the Python alone shows.
        return sorted([*self.rules, *([] if self.renders_offline else ["not-renderable"])])


def judge_all(folder: Path, base: str, cases: Iterable[Case]) -> dict[str, list[dict[str, Any]]]:
    """Judge each case on top of the same base, all in one run; return the findings of each."""
    project = GuardProject(folder)
    project.configure('[tool.slipway]\napplications = ["app"]\n')
    project.add("base", "\n".join(f"op.execute({line!r})" for line in base.strip().splitlines()))
    (folder / "case_helpers.py").write_text(HELPERS)
    for case in cases:
        parent = "base"
        for number, body in enumerate(case.before):
            project.add(f"{case.id}_{number}"[:32], body, parent)
            parent = f"{case.id}_{number}"[:32]
        project.add(case.id, case.upgrade, parent, module=case.module, downgrade=case.downgrade)
    findings: dict[str, list[dict[str, Any]]] = {}
    for finding in project.guard("--all").report["findings"]:
        # Each case is a head of its own here.
        if finding["rule"] not in ("multiple-heads", "long-revision-id"):
            findings.setdefault(finding["revision"], []).append(finding)
    return findings


def broken_rules(findings: Iterable[dict[str, Any]]) -> list[str]:
    return sorted({finding["rule"] for finding in findings})


def each(cases: Iterable[dict[str, Any]]) -> Iterator[Case]:
    """The cases, but for those with an option that the installed Alembic does not have yet."""
    known = inspect.signature(Operations.add_column).parameters
    unknown = [name for name in ("inline_references",) if name not in known]
    return (Case(**case) for case in cases if not any(name in case["upgrade"] for name in unknown))
