"""The command as its users and their CI see it."""

from pathlib import Path

import pytest

from packages.slipway.tests.guard.project import GuardProject
from packages.slipway.tests.rows import ROOT
from slipway.guard.rules import RULES

DROP = 'op.execute("DROP TABLE t")'
TRIGGER = 'op.execute("CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")'


@pytest.fixture
def project(tmp_path: Path) -> GuardProject:
    project = GuardProject(tmp_path)
    project.add("base", 'op.execute("CREATE TABLE t (a int)")')
    return project


def test_exit_codes(project: GuardProject) -> None:
    clean = project.add("clean", "pass", "base")
    error = project.add("error", DROP, "base")
    info = project.add("info", TRIGGER, "base")

    assert project.guard(clean).code == 0
    assert project.guard(error).code == 1
    assert project.guard(info).code == 0
    assert project.guard(info, "--fail-on", "warning").code == 0
    assert project.guard(info, "--fail-on", "info").code == 1
    assert project.guard(error, "--fail-on", "info").code == 1


USAGE = [
    ["--no-such-option"],
    ["missing.py"],
    ["migrations"],
    ["--format", "xml"],
    ["--fail-on", "never"],
    ["--explain", "no-such-rule"],
    ["--all", "--since", "base"],
    ["--all", "migrations/versions/base.py"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage(project: GuardProject, arguments: list[str]) -> None:
    answer = project.guard(*arguments)

    assert answer.code == 2
    assert answer.errors


IMPOSSIBLE = {
    "no such revision": (["--since", "nobody"], ""),
    "no such baseline": (["--all"], '[tool.slipway]\nbaseline = "nobody"\n'),
    "no such setting": (["--all"], "[tool.slipway]\nbaselin = 'x'\n"),
    "no such rule": (["--all"], "[tool.slipway.severities]\ndrop-colum = 'off'\n"),
    "no such severity": (["--all"], "[tool.slipway.severities]\ndrop-column = 'none'\n"),
    "a text for a number": (["--all"], "[tool.slipway]\npostgresql = '15'\n"),
    "a truth for a number": (["--all"], "[tool.slipway]\npostgresql = true\n"),
    "a text for a list": (["--all"], "[tool.slipway]\nsmall-tables = 't'\n"),
    "a list of numbers": (["--all"], "[tool.slipway]\nsmall-tables = [1]\n"),
    "a text for a table": (["--all"], "[tool.slipway]\nseverities = 'off'\n"),
    "no table": (["--all"], "[tool]\nslipway = 1\n"),
    "no TOML": (["--all"], "[tool.slipway\n"),
    "another folder": (["--all"], "version_locations = ['%(here)s/elsewhere']\n"),
}


@pytest.mark.parametrize("fault", IMPOSSIBLE)
def test_what_makes_it_impossible_is_one_sentence(project: GuardProject, fault: str) -> None:
    arguments, configuration = IMPOSSIBLE[fault]
    project.configure(configuration)

    answer = project.guard(*arguments)

    assert answer.code == 3
    assert answer.printed == ""
    [line] = answer.errors.splitlines()
    assert line.startswith("slipway guard: ")


def test_a_name_that_is_nearly_right_is_offered(project: GuardProject) -> None:
    project.configure("[tool.slipway.severities]\ndrop-colum = 'off'\n")
    assert "drop-column" in project.guard("--all").errors


def test_outside_of_any_project(tmp_path: Path) -> None:
    assert GuardProject(tmp_path).guard("--all").code == 3


def test_severities_are_the_project_s(project: GuardProject) -> None:
    file = project.add("next", f"{DROP}\n{TRIGGER}", "base")
    project.configure('[tool.slipway.severities]\ndrop-table = "off"\ntrigger = "error"\n')

    answer = project.guard(file)

    assert (answer.code, answer.rules()) == (1, ["trigger"])
    assert answer.report["findings"][0]["severity"] == "error"


def test_locks_on_small_tables_do_not_matter(project: GuardProject) -> None:
    file = project.add(
        "next",
        'op.create_index("i", "t", ["a"])\nop.execute("ALTER TABLE s.u ADD CHECK (a > 0)")\n'
        'op.drop_column("t", "a")',
        "base",
    )
    expected = ["check-scan", "drop-column", "index-not-concurrent", "lock-chain"]
    assert project.guard(file).rules() == expected

    project.configure('[tool.slipway]\nsmall-tables = ["public.t", "s.u"]\n')

    assert project.guard(file).rules() == ["drop-column"]


def test_the_version_of_postgresql_changes_the_advice(project: GuardProject) -> None:
    file = project.add("next", 'op.alter_column("t", "a", nullable=False)', "base")
    [before] = project.guard(file).report["findings"]
    project.configure("[tool.slipway]\npostgresql = 18\n")
    [after] = project.guard(file).report["findings"]

    assert "postgresql_not_valid" in before["instead"]
    assert "NOT NULL a NOT VALID" in after["instead"]


def test_the_guide_of_the_project_is_named_where_it_has_one(project: GuardProject) -> None:
    file = project.add("next", DROP, "base")
    before = project.guard(file).report["verdict"]
    project.configure('[tool.slipway]\ndocumentation = "docs/migrations.md"\n')
    after = project.guard(file).report["verdict"]

    assert "docs/migrations.md" not in before
    assert after.endswith("docs/migrations.md")
    assert "docs/migrations.md" not in project.guard("--since", "next").report["verdict"]


def test_alembic_ini_is_read_too(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    file = project.add("one", DROP)
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")

    assert project.guard(file).rules() == ["drop-table"]
    assert project.guard("--all").rules() == ["drop-table"]


def test_a_file_from_elsewhere_is_judged_alone(project: GuardProject, tmp_path: Path) -> None:
    outside = tmp_path / "draft/new.py"
    outside.parent.mkdir()
    project.add("new", DROP).rename(outside)

    assert project.guard(outside).rules() == ["drop-table"]


def test_advice_is_python() -> None:
    """As far as it is code; what cannot be written as code is a comment."""
    of_a_shell = {"old-import"}
    for rule in [rule for name, rule in RULES.items() if name not in of_a_shell]:
        compile(rule.instead.format_map(Names()).replace("...\n", "pass\n"), rule.name, "exec")


class Names(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return {"columns": '"c"', "unique": "", "statement": "SELECT 1"}.get(key, key)


@pytest.mark.representative
def test_as_a_process(project: GuardProject) -> None:
    file = project.add("next", DROP, "base")

    done = project.process(file)
    assert (done.returncode, done.stderr) == (1, "")
    assert "drop-table" in done.stdout
    assert project.process("--format", "nonsense").returncode == 2


OWN = sorted((ROOT / "template/src/migrations/versions").glob("*.py"))


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.name)
def test_the_revisions_of_the_template_are_clean(tmp_path: Path, file: Path) -> None:
    project = GuardProject(tmp_path)
    # The newest version is the one without a name of its own.
    newest = "postgresql_" not in file.name
    project.configure(f"[tool.slipway]\npostgresql = {18 if newest else 17}\n")
    project.write(file.stem, file.read_bytes())

    answer = project.guard("--all", "--fail-on", "info")

    assert answer.code == 0
    assert answer.report["findings"] == []
    assert answer.report["suppressed"] == []
    assert len(answer.report["looked_at"]) == 1


def test_without_a_repository_nothing_was_merged_and_all_is_looked_at(
    project: GuardProject,
) -> None:
    answer = project.guard()

    assert answer.code == 0
    assert answer.report["looked_at"] == ["migrations/versions/base.py"]
