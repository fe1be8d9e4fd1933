"""Migrations of all kinds with the exact rules that they break."""

import re
from pathlib import Path
from typing import Any

import pytest

from packages.slipway.tests.guard.catalogue import BASE, CASES, FOLDER
from packages.slipway.tests.guard.project import Case, broken_rules, judge_all
from slipway.guard.rules import compatibility

# The module of each rule.
CHECKS = {
    name: module.stem
    for module in Path(compatibility.__file__).parent.glob("*.py")
    for name in re.findall(r'name="([\w-]+)"', module.read_text())
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    return judge_all(tmp_path_factory.mktemp("cases"), BASE, CASES)


@pytest.mark.representative
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_a_migration_breaks_exactly_these_rules(
    findings: dict[str, list[dict[str, Any]]], case: Case
) -> None:
    found = findings.get(case.id, [])

    assert broken_rules(found) == case.expected(), found


def test_every_case_exists_once_in_the_file_of_its_first_rule() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 268
    for case in CASES:
        check = CHECKS[case.rules[0]] if case.rules else "clean"
        assert f'id = "{case.id}"' in (FOLDER / f"{check}.toml").read_text(), case.id


def at(findings: dict[str, list[dict[str, Any]]], case: str) -> dict[str, Any]:
    [finding] = findings[case]
    return finding


SEVERITIES = {
    "alter_type_varchar_widen": "warning",
    "alter_type_varchar_text": "warning",
    "alter_type_int_bigint": "error",
    "alter_type_varchar_narrow": "error",
    "widened_with_a_check": "error",
    "widened_under_an_expression": "error",
    "numeric_with_more_digits": "warning",
    "numeric_with_another_scale": "error",
    "server_default_none": "error",
    "drop_default_nullable": "warning",
    "not_null_dance_good": "info",
}


@pytest.mark.parametrize(("case", "severity"), SEVERITIES.items())
def test_how_severe_it_is_depends_on_what_is_known(
    findings: dict[str, list[dict[str, Any]]], case: str, severity: str
) -> None:
    assert at(findings, case)["severity"] == severity


def test_the_advice_for_a_check_is_that_check(findings: dict[str, list[dict[str, Any]]]) -> None:
    advice = at(findings, "check_with_operators")["instead"]

    compile(advice, "advice", "exec")
    assert "\"age\" >= 0 AND note <> \\'x\\'" in advice


def test_a_finding_names_the_object_and_the_line(findings: dict[str, list[dict[str, Any]]]) -> None:
    finding = at(findings, "helper_imported")

    assert "acct.age" in finding["message"]
    assert 'op.drop_column("acct", "age")' in finding["instead"]
    lines = Path("migrations/versions/helper_imported.py")
    assert finding["file"] == lines.as_posix()
    assert finding["sql"] == "ALTER TABLE acct DROP COLUMN age"
