"""The pages of the rules: there is one for each, and it says what the rule says."""

import re
from pathlib import Path

import pytest

from packages.slipway.tests.guard.project import GuardProject
from packages.slipway.tests.rows import ROOT
from slipway import rule_pages
from slipway.report import LEVELS, Rule, every_rule

FOLDER = ROOT / "packages/slipway/docs/rules"
RULES = every_rule()
EVERY = [(command, rule) for by_command in RULES.values() for command, rule in by_command.items()]


def test_each_rule_has_a_page_and_no_page_is_stale() -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.md")}

    assert written == rule_pages.pages(), "python -m slipway.rule_pages packages/slipway/docs/rules"


def test_pages_of_rules_that_are_gone_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("")
    rule_pages.write(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(rule_pages.pages())


@pytest.mark.parametrize(("command", "rule"), EVERY, ids=[f"{c}-{r.name}" for c, r in EVERY])
def test_a_rule_says_all_that_its_page_needs(command: str, rule: Rule) -> None:
    assert rule.severity in LEVELS
    assert all((rule.summary, rule.why, rule.instead, rule.example))
    # Every page of the manual has its title.
    assert rule_pages.page({command: rule})
    # What stands in braces has an example.
    if command in ("guard", "rehearse"):
        used = set(re.findall(r"\{(\w+)\}", rule.summary + rule.instead))
        assert used == set(rule.fields)


def test_the_index_names_each_rule_once_for_each_command() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, by_command in RULES.items():
        assert index.count(f"[{name}]({name}.md)") == len(by_command)


@pytest.mark.parametrize("name", ["drop-column", "stale-plan", "models-disagree"])
def test_the_guard_explains_the_rules_of_every_command(tmp_path: Path, name: str) -> None:
    answer = GuardProject(tmp_path).guard("--explain", name)

    assert answer.code == 0
    assert answer.printed == (FOLDER / f"{name}.md").read_text(encoding="utf-8")
