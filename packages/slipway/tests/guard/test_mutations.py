"""The same migrations written in other ways break the same rules."""

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from packages.slipway.tests.guard.catalogue import BASE, CASES, REHEARSED
from packages.slipway.tests.guard.project import (
    HELPERS,
    Case,
    GuardProject,
    broken_rules,
    judge_all,
)
from slipway.guard.record import RecordedStatement, record
from slipway.guard.sql.lexer import tokens

# What the Python shows, and not the SQL.
OF_PYTHON = {
    "create-all",
    "empty-downgrade",
    "impure-migration",
    "imports-application",
    "not-renderable",
}
TABLES = {"acct", "org", "lonely", "nopk"}
BEFORE_A_TABLE = re.compile(r"\b(TABLE|EXISTS|ONLY|ON|INTO|UPDATE|FROM|REFERENCES)$")


def in_a_helper(case: Case) -> Case:
    helper = f"def work(context):\n{textwrap.indent(case.upgrade, '    ')}"
    return replace(case, module=f"{case.module}\n{helper}", upgrade="work(None)")


def in_a_loop(case: Case) -> Case:
    loop = f"for _ in [None]:\n{textwrap.indent(case.upgrade, '    ')}"
    return replace(case, upgrade=f"if True:\n{textwrap.indent(loop, '    ')}")


def in_a_method(case: Case) -> Case:
    body = textwrap.indent(case.upgrade, "        ")
    return replace(case, upgrade=f"class Steps:\n    def go(self):\n{body}\nSteps().go()")


def by_another_name(case: Case) -> Case:
    return replace(
        case,
        module="from alembic import op as schema\n" + re.sub(r"\bop\.", "schema.", case.module),
        upgrade=re.sub(r"(?<!\.)\bop\b(?=[.,])", "schema", case.upgrade),
    )


PYTHON = (in_a_helper, in_a_loop, in_a_method, by_another_name)


def in_small_letters(sql: str) -> str:
    return "".join(t.text.lower() if t.kind == "word" else t.text for t in tokens(sql))


def with_comments(sql: str) -> str:
    spaced = "".join("\n/* DROP; */\t" if t.kind == "space" else t.text for t in tokens(sql))
    return f"-- CONCURRENTLY\n{spaced}\n;"


def qualified_and_quoted(sql: str) -> str:
    written = ""
    for token in tokens(sql):
        is_table = token.name in TABLES and BEFORE_A_TABLE.search(written.rstrip().upper())
        written += f'"public" . "{token.name}"' if is_table else token.text
    return written


SQL = (in_small_letters, with_comments, qualified_and_quoted)


def raw(
    case: Case, statements: tuple[RecordedStatement, ...], change: Callable[[str], str]
) -> Case:
    """The case as nothing but `op.execute`, in the same transactions."""
    lines = []
    for statement in statements:
        # Colons are SQLAlchemy's sign for parameters.
        sql = re.sub(r":(?=\w)", r"\\:", change(statement.sql))
        if statement.autocommit:
            lines.append("with op.get_context().autocommit_block():")
        lines.append(f"{'    ' * statement.autocommit}op.execute({sql!r})")
    return replace(case, module="", upgrade="\n".join(lines))


def mutated(folder: Path) -> Iterator[tuple[str, Case]]:
    project = GuardProject(folder)
    cases = [case for case in CASES if case.upgrade != "pass"]
    files = [project.add(case.id, case.upgrade, module=case.module) for case in cases]
    (folder / "case_helpers.py").write_text(HELPERS)
    recordings = record(files, [str(folder), *sys.path])
    for case, recording in zip(cases, recordings, strict=True):
        for change in PYTHON:
            yield change.__name__, change(case)
        several = "multiple-statements" in case.rules
        permitted = "phase" in case.module
        if not OF_PYTHON & set(case.expected()) and not several and not permitted:
            for rewrite in SQL:
                yield rewrite.__name__, raw(case, recording.statements, rewrite)


@pytest.fixture(scope="module")
def mutations(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[str, Case, list[dict[str, Any]]]]:
    named = [
        (way, replace(case, id=f"m{number}_{case.id}"[:30]), case.id)
        for number, (way, case) in enumerate(mutated(tmp_path_factory.mktemp("originals")))
    ]
    findings = judge_all(tmp_path_factory.mktemp("mutations"), BASE, [case for _, case, _ in named])
    return [(f"{name} {way}", case, findings.get(case.id, [])) for way, case, name in named]


@pytest.mark.slow
def test_another_way_to_write_it_changes_nothing(
    mutations: list[tuple[str, Case, list[dict[str, Any]]]],
) -> None:
    assert len(mutations) > 5 * len(REHEARSED)
    wrong = {
        name: (case.expected(), broken_rules(found))
        for name, case, found in mutations
        if case.expected() != broken_rules(found)
    }
    assert not wrong
