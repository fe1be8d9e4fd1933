"""Which comments permit what, and which are mistakes themselves."""

from pathlib import Path

import pytest

from packages.slipway.tests.guard.project import Answer, GuardProject

TABLES = 'op.execute("CREATE TABLE acct (id bigint, age int, note text)")'
DROP = 'op.drop_column("acct", "age")'
ALLOW = "# guard: allow[drop-column] nobody reads it"


@pytest.fixture
def project(tmp_path: Path) -> GuardProject:
    project = GuardProject(tmp_path)
    project.add("base", TABLES)
    return project


def judged(project: GuardProject, upgrade: str, module: str = "") -> Answer:
    return project.guard(project.add("next", upgrade, "base", module=module))


PERMITTED = {
    "behind the statement": f"{DROP}  {ALLOW}",
    "on the line before": f"{ALLOW}\n{DROP}",
    "some lines before": f"{ALLOW}\n# and more\n\n{DROP}",
    "beside another comment": f"{DROP}  # noqa: X # guard: allow[drop-column] nobody reads it",
    "in a call of several lines": f'op.drop_column(\n    "acct",\n    "age",  {ALLOW}\n)',
    "alone on a line within a call": f'op.drop_column(\n    {ALLOW}\n    "acct",\n    "age",\n)',
    "behind a call of several lines": f'op.drop_column(\n    "acct",\n    "age",\n)  {ALLOW}',
    "before a call of several lines": f'{ALLOW}\nop.drop_column(\n    "acct",\n    "age",\n)',
    "at the head of a block": f"for _ in (1,):  {ALLOW}\n    {DROP}",
    "before a block": f"{ALLOW}\nfor _ in (1,):\n    {DROP}",
    "at the call of what does it": f"def work():\n    {DROP}\nwork()  {ALLOW}",
    "in what does it": f"def work():\n    {DROP}  {ALLOW}\nwork()",
    "several rules": (
        'op.execute("ALTER TABLE acct DROP age CASCADE")'
        "  # guard: allow[drop-column, cascade] nobody reads it"
    ),
}


@pytest.mark.parametrize("place", PERMITTED)
def test_a_suppression_belongs_to_its_statement(project: GuardProject, place: str) -> None:
    answer = judged(project, PERMITTED[place])

    assert (answer.code, answer.rules()) == (0, [])
    assert {item["reason"] for item in answer.report["suppressed"]} == {"nobody reads it"}
    assert "drop-column" in {item["rule"] for item in answer.report["suppressed"]}


@pytest.mark.parametrize("place", ["top", "module"])
def test_outside_of_functions_it_is_for_the_file(project: GuardProject, place: str) -> None:
    module = ALLOW if place == "module" else ""
    file = project.add("next", f'{DROP}\nop.drop_column("acct", "note")', "base", module=module)
    if place == "top":
        file.write_text(f"{ALLOW}\n{file.read_text()}")

    answer = project.guard(file)

    assert answer.rules() == []
    assert len(answer.report["suppressed"]) == 2


def test_before_a_function_it_is_for_the_file_too(project: GuardProject) -> None:
    file = project.add("next", DROP, "base")
    file.write_text(file.read_text().replace("def upgrade", f"{ALLOW}\ndef upgrade"))

    assert project.guard(file).rules() == []


def test_it_permits_nothing_beside_its_statement(project: GuardProject) -> None:
    answer = judged(project, f'{DROP}  {ALLOW}\nop.drop_column("acct", "note")')

    assert answer.rules() == ["drop-column"]
    assert "acct.note" in answer.report["findings"][0]["message"]
    assert len(answer.report["suppressed"]) == 1


def test_it_permits_nothing_but_its_rules(project: GuardProject) -> None:
    answer = judged(project, f'op.execute("ALTER TABLE acct DROP age CASCADE")  {ALLOW}')

    assert answer.rules() == ["cascade"]


def test_one_in_a_string_is_none(project: GuardProject) -> None:
    answer = judged(project, f"op.execute('ALTER TABLE acct DROP age -- {ALLOW}')")

    assert answer.rules() == ["drop-column"]


def test_it_permits_what_leaves_no_sql(project: GuardProject) -> None:
    answer = judged(
        project, "import time\ntime.sleep(0)  # guard: allow[impure-migration] the cache expires"
    )

    assert answer.rules() == []


def test_an_empty_downgrade_can_be_permitted_where_it_is(project: GuardProject) -> None:
    file = project.add(
        "next",
        'op.add_column("acct", sa.Column("x", sa.Text()))',
        "base",
        downgrade="pass  # guard: allow[empty-downgrade] no way back",
    )

    assert project.guard(file).rules() == []


MISTAKES = {
    "no reason": "# guard: allow[drop-column]",
    "blank reason": "# guard: allow[drop-column]   ",
    "no rule": "# guard: allow[] because",
    "no brackets": "# guard: allow drop-column because",
    "another word": "# guard: ignore[drop-column] because",
    "unknown rule": "# guard: allow[drop-colum] because",
    "itself": "# guard: allow[bad-suppression] because",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_suppression_that_is_wrong_permits_nothing_and_is_an_error(
    project: GuardProject, mistake: str
) -> None:
    answer = judged(project, f"{DROP}  {MISTAKES[mistake]}")

    assert (answer.code, answer.rules()) == (1, ["bad-suppression", "drop-column"])


@pytest.mark.parametrize("place", ["statement", "file"])
def test_a_suppression_that_is_not_needed_is_an_error(project: GuardProject, place: str) -> None:
    allow = "# guard: allow[drop-table] it is empty"
    add = 'op.add_column("acct", sa.Column("x", sa.Text()))'
    answer = (
        judged(project, f"{add}  {allow}") if place == "statement" else judged(project, add, allow)
    )

    assert answer.rules() == ["bad-suppression"]


def test_one_that_another_makes_unnecessary_is_an_error(project: GuardProject) -> None:
    answer = judged(project, f"{DROP}  {ALLOW}", ALLOW)

    assert answer.rules() == ["bad-suppression"]


def test_what_was_not_seen_to_its_end_may_need_its_suppressions(project: GuardProject) -> None:
    answer = judged(project, f"sa.inspect(op.get_bind())\n{DROP}  {ALLOW}")

    assert answer.rules() == ["not-renderable"]


def test_a_rule_that_is_off_may_have_suppressions(project: GuardProject) -> None:
    project.configure('[tool.slipway.severities]\ndrop-column = "off"\n')

    assert judged(project, f"{DROP}  {ALLOW}").rules() == []


def test_the_contract_phase_is_listed_with_what_it_permits(project: GuardProject) -> None:
    answer = judged(project, DROP, 'phase: str = "contract"')

    assert (answer.code, answer.rules()) == (0, [])
    [permitted] = answer.report["suppressed"]
    assert permitted["rule"] == "drop-column"
    assert "contract" in permitted["reason"]
