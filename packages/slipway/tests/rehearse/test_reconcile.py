"""Which findings of the guard fall when the rehearsal has seen what PostgreSQL does."""

from dataclasses import replace
from pathlib import Path

import pytest

from packages.slipway.tests.rehearse.project import Tracing
from slipway.guard.rule import RULES
from slipway.rehearse.model import TracedStatement
from slipway.rehearse.reconcile import DISPROOFS, clear
from slipway.report import Finding

ROWS = {"acct": 50, "org": 5}


def guards(rule: str, file: Path, line: int = 14) -> Finding:
    return Finding(rule=rule, severity="error", message="", instead="", file=file, line=line)


HARMLESS = TracedStatement(
    revision="r",
    file="",
    line=14,
    sql="ALTER TABLE acct ALTER note SET NOT NULL",
    started=0,
    seconds=0,
    locks={"acct": "ACCESS EXCLUSIVE"},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "r.py"
    path.write_text("\n" * 12 + "call(\n    1,\n)\nother()\n")
    return path


def cleared(
    rule: str, file: Path, *statements: TracedStatement, line: int = 14, production: int = 18
) -> bool:
    traced = [replace(statement, file=str(file)) for statement in statements]
    found = [guards(rule, file, line)]
    kept, gone = clear(found, traced, ROWS, server=18, production=production)
    assert len(kept) + len(gone) == 1
    assert all("PostgreSQL 18" in finding.reason for finding in gone)
    return bool(gone)


WORK = [rule for rule, disproof in DISPROOFS.items() if disproof.__name__ == "_reads_nothing"]
LOCKS = [rule for rule, disproof in DISPROOFS.items() if disproof.__name__ == "_locks_nothing"]
CHANGES = {
    "rewrites": {"rewritten": ("acct",)},
    "scans": {"scanned": {"acct": 50}},
    "scans another": {"scanned": {"org": 5}, "locks": {"acct": "SHARE", "org": "ACCESS SHARE"}},
    "chains": {"held": {"org": "ACCESS EXCLUSIVE"}},
    "failed": {"error": "UndefinedColumnError"},
    "on an empty table": {"locks": {"empty": "ACCESS EXCLUSIVE"}},
    "unseen": {"locks": {}},
}


@pytest.mark.parametrize("rule", WORK)
def test_work_under_a_lock_is_disproved_by_a_statement_that_does_none(
    rule: str, file: Path
) -> None:
    assert cleared(rule, file, HARMLESS)


@pytest.mark.parametrize("rule", DISPROOFS)
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_cleared_that_was_seen_or_not_looked_at(
    rule: str, change: str, file: Path
) -> None:
    assert not cleared(rule, file, replace(HARMLESS, **CHANGES[change]))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", LOCKS)
def test_a_finding_about_the_lock_itself_falls_only_without_it(rule: str, file: Path) -> None:
    assert not cleared(rule, file, HARMLESS)
    assert cleared(rule, file, replace(HARMLESS, locks={"acct": "SHARE UPDATE EXCLUSIVE"}))


def test_a_chain_is_disproved_by_a_single_table(file: Path) -> None:
    assert cleared("lock-chain", file, HARMLESS)
    both = {"acct": "ACCESS EXCLUSIVE", "org": "ACCESS EXCLUSIVE"}
    assert not cleared("lock-chain", file, replace(HARMLESS, locks=both))
    assert not cleared("partition-scan", file, replace(HARMLESS, locks=both))


def test_all_that_the_line_sends_must_be_harmless(file: Path) -> None:
    scan = replace(HARMLESS, scanned={"acct": 50})

    assert not cleared("check-scan", file, HARMLESS, scan)


def test_an_expression_may_span_several_lines_and_no_more(file: Path) -> None:
    assert cleared("check-scan", file, replace(HARMLESS, line=13))
    assert cleared("check-scan", file, replace(HARMLESS, line=15))
    assert not cleared("check-scan", file, replace(HARMLESS, line=16))
    assert not cleared("check-scan", file)


def test_another_version_proves_nothing(file: Path) -> None:
    assert not cleared("check-scan", file, HARMLESS, production=17)


def test_findings_about_compatibility_always_stay(file: Path) -> None:
    others = [rule for rule in RULES if rule not in DISPROOFS]

    assert not any(cleared(rule, file, HARMLESS) for rule in others)
    assert {"drop-column", "change-column-type", "required-column"} <= set(others)


def test_every_rule_about_locks_has_its_disproof() -> None:
    assert set(DISPROOFS) == {name for name, rule in RULES.items() if rule.locks}


def test_a_default_that_the_guard_takes_for_volatile(tracing: Tracing) -> None:
    run = tracing.code(
        "op.execute(\"ALTER TABLE acct ADD x int DEFAULT octet_length('slipway')\")\n"
        'op.execute("ALTER TABLE org ADD x uuid DEFAULT gen_random_uuid()")'
    )
    harmless, volatile = run.statements
    found = [guards("volatile-default", Path(s.file), s.line) for s in (harmless, volatile)]

    kept, gone = clear(found, [harmless], ROWS, server=18, production=18)
    assert [finding.line for finding in gone] == [harmless.line]
    assert clear(kept, run.statements, ROWS, server=18, production=18)[0] == kept
