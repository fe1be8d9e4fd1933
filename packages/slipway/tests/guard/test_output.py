"""Each format, read by what it is for."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sarif_pydantic import Sarif

from packages.slipway.tests.guard.project import GuardProject

TABLE = 'op.execute("CREATE TABLE t (a int, \\"b|c\\" int)")'
UPGRADE = '''
op.execute("""ALTER TABLE t DROP COLUMN "b|c" """)  # a line, 100% and: more
op.drop_column("t", "a")  # guard: allow[drop-column] nobody, really | nobody
op.execute("CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
'''


@pytest.fixture
def project(tmp_path: Path) -> GuardProject:
    project = GuardProject(tmp_path)
    project.add("base", TABLE)
    project.add("näxt, 50%", UPGRADE, "base")
    return project


FILE = "migrations/versions/näxt, 50%.py"


def printed(project: GuardProject, format: str) -> str:
    answer = project.guard(project.folder / FILE, "--format", format)
    assert answer.code == 1
    return answer.printed


def test_json(project: GuardProject) -> None:
    report = json.loads(printed(project, "json"))

    keys = {"rule", "severity", "file", "line", "revision", "sql", "message", "instead"}
    assert set(report) == {"verdict", "findings", "suppressed", "looked_at"}
    assert [(f["rule"], f["severity"]) for f in report["findings"]] == [
        ("drop-column", "error"),
        ("trigger", "info"),
    ]
    for finding in report["findings"]:
        assert set(finding) == keys
        assert finding["file"] == FILE
        assert finding["revision"] == "näxt, 50%"
    [suppressed] = report["suppressed"]
    assert set(suppressed) == keys | {"reason"}
    assert report["looked_at"] == [FILE]


def test_sarif(project: GuardProject) -> None:
    text = printed(project, "sarif")
    assert Sarif.model_validate_json(text).runs

    log = json.loads(text)
    assert log["version"] == "2.1.0"
    assert "sarif-schema-2.1.0" in log["$schema"]
    [run] = log["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert len(rules) == len(run["tool"]["driver"]["rules"])
    for result in run["results"]:
        assert result["ruleId"] in rules
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert place["region"]["startLine"] > 0
        assert re.fullmatch(r"[\w./%-]+", place["artifactLocation"]["uri"], re.ASCII)
    permitted = [result for result in run["results"] if result.get("suppressions")]
    assert [r["suppressions"][0]["kind"] for r in permitted] == ["inSource"]
    assert len(run["results"]) == 3


def test_github_annotations(project: GuardProject) -> None:
    lines = printed(project, "github").splitlines()

    commands = [line for line in lines if line.startswith("::")]
    assert len(commands) == 2
    read = [annotation(command) for command in commands]
    assert [item["level"] for item in read] == ["error", "notice"]
    assert {item["file"] for item in read} == {FILE}
    assert [item["title"] for item in read] == ["drop-column", "trigger"]
    assert "t.b|c" in read[0]["message"]
    assert "\n" in read[0]["message"]


def annotation(command: str) -> dict[str, Any]:
    """What GitHub's runner makes of a workflow command."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", command)
    assert match
    level, properties, message = match.groups()
    pairs = (item.split("=", 1) for item in properties.split(","))
    return {
        "level": level,
        **{key: unescaped(value) for key, value in pairs},
        "message": unescaped(message),
    }


def unescaped(value: str) -> str:
    for code, character in [("0D", "\r"), ("0A", "\n"), ("3A", ":"), ("2C", ","), ("25", "%")]:
        value = value.replace(f"%{code}", character)
    return value


def test_markdown(project: GuardProject) -> None:
    text = printed(project, "markdown")

    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
    assert {len(row) for row in cells} == {4}
    assert [row[1].strip() for row in cells] == [
        *("rule", "drop-column", "trigger"),
        *("rule", "drop-column"),
    ]
    assert text.count("<details>") == text.count("</details>") == 2
    assert text.count("```") % 2 == 0


def test_text_shows_the_line_the_statement_and_the_way_out(project: GuardProject) -> None:
    text = printed(project, "text")

    lines = (project.folder / FILE).read_text().splitlines()
    line = next(i for i, code in enumerate(lines, 1) if "100%" in code)
    assert f"{FILE}:{line}: error[drop-column]" in text
    assert "# a line, 100% and: more" in text
    assert 'ALTER TABLE t DROP COLUMN "b|c"' in text
    assert 'phase = "contract"' in text
    assert "nobody, really | nobody" in text
    assert "\x1b[" not in text


def test_text_has_colours_where_they_are_wanted(
    project: GuardProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in printed(project, "text")


def test_what_a_loop_repeats_is_said_once(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    file = project.add(
        "loop", 'for i in range(200):\n    op.execute(f"DELETE FROM t WHERE id = {i}")'
    )

    [finding] = project.guard(file).report["findings"]
    assert "200" in finding["message"]


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    file = project.add("odd", r"""op.execute('DROP TABLE "\x1b[2J"')""")

    assert "\x1b" not in project.guard(file, "--format", "text").printed
