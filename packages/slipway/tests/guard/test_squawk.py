"""squawk's opinion beside ours; a program stands in for it that says what squawk 2.70 says."""

import json
import os
import sys
from pathlib import Path

import pytest

from packages.slipway.tests.guard.project import GuardProject

# Each line of SQL that has the word on the left breaks the rule on the right.
STAND_IN = """\
#!{python}
import json, sys
WORDS = {{"DROP COLUMN": "ban-drop-column", "varchar": "prefer-text-field", "index": "odd"}}
files = [name for name in sys.argv[1:] if name.endswith(".sql")]
found = [
    {{"file": name, "line": number, "level": "Warning", "message": "it says so", "help": None,
      "rule_name": rule, "column": 0}}
    for name in files
    for number, line in enumerate(open(name))
    for word, rule in WORDS.items()
    if word in line
]
print({output})
"""


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, output: str) -> None:
    program = folder / "bin/squawk"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable, output=output))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def project(tmp_path: Path) -> GuardProject:
    project = GuardProject(tmp_path)
    project.add("base", 'op.execute("CREATE TABLE t (a int)")')
    return project


def test_it_adds_what_we_do_not_say_on_the_line_of_the_migration(
    project: GuardProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "json.dumps(found)")
    file = project.add(
        "next",
        'op.execute("COMMENT ON TABLE t IS NULL")\nop.drop_column("t", "a")\n'
        'op.execute("""\nALTER TABLE t\nADD b varchar(9)\n""")',
        "base",
    )

    report = project.guard(file, "--squawk").report

    lines = file.read_text().splitlines()
    found = {f["rule"]: lines[f["line"] - 1] for f in report["findings"]}
    assert set(found) == {"drop-column", "squawk/prefer-text-field"}
    assert found["squawk/prefer-text-field"].strip() == 'op.execute("""'
    assert len(report["findings"]) == 2


def test_its_findings_can_be_permitted_by_our_names_and_by_its_own(
    project: GuardProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "json.dumps(found)")
    file = project.add(
        "next",
        'op.drop_column("t", "a")  # guard: allow[drop-column] nobody reads it\n'
        'op.execute("ALTER TABLE t ADD b varchar(9)")'
        "  # guard: allow[squawk/prefer-text-field] a limit of the protocol",
        "base",
    )

    assert project.guard(file, "--squawk").rules() == []
    assert project.guard(file).rules() == []


@pytest.mark.parametrize("output", ["'no JSON'", "json.dumps([{}])", "''"])
def test_what_is_not_understood_is_one_sentence(
    project: GuardProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str
) -> None:
    install(monkeypatch, tmp_path, output)

    answer = project.guard("--all", "--squawk")

    assert answer.code == 3
    assert len(answer.errors.splitlines()) == 1


def test_without_it_the_answer_says_how_to_install_it(
    project: GuardProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    answer = project.guard("--all", "--squawk")

    assert answer.code == 3
    assert "squawk-cli" in answer.errors


def test_nothing_to_ask(
    project: GuardProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "json.dumps(found)")
    file = project.add("next", "pass", "base")

    assert json.loads(project.guard(file, "--squawk").printed)["findings"] == []
