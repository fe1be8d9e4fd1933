"""Which revisions are looked at, and what git and the chain say of them."""

from pathlib import Path

import pytest

from packages.slipway.tests.guard.project import GuardProject
from packages.slipway.tests.processes import git
from slipway.project.renamed import REWRITE

DROP = 'op.execute("DROP TABLE t")'


@pytest.fixture
def project(tmp_path: Path) -> GuardProject:
    """A repository with two merged revisions, on a branch of its own."""
    project = GuardProject(tmp_path)
    git("init", "--quiet", "--initial-branch=main", cwd=tmp_path)
    project.add("one", DROP)
    project.add("two", DROP, "one")
    commit(project)
    git("switch", "--quiet", "--create", "feature", cwd=tmp_path)
    return project


def commit(project: GuardProject) -> None:
    git("add", "--all", cwd=project.folder)
    git("commit", "--quiet", "--message", "x", cwd=project.folder)


def looked_at(project: GuardProject, *arguments: str | Path) -> list[str]:
    return [Path(file).stem for file in project.guard(*arguments).report["looked_at"]]


def test_nothing_new_is_said_to_be_nothing(project: GuardProject) -> None:
    answer = project.guard()
    assert (answer.code, answer.report["looked_at"]) == (0, [])
    assert "nothing" in answer.errors
    assert "nothing" in project.guard("--format", "text").printed
    assert "nothing" in project.guard("--format", "markdown").printed


@pytest.mark.parametrize("state", ["untracked", "staged", "committed", "changed since"])
def test_a_revision_that_the_base_branch_does_not_have_is_looked_at(
    project: GuardProject, state: str
) -> None:
    file = project.add("three", DROP, "two")
    if state != "untracked":
        git("add", "--all", cwd=project.folder)
    if state in ("committed", "changed since"):
        commit(project)
    if state == "changed since":
        file.write_text(file.read_text() + "\nx = 1\n")

    assert looked_at(project) == ["three"]
    assert project.guard().rules() == ["drop-table"]


def test_what_came_to_the_base_branch_meanwhile_is_not_looked_at(project: GuardProject) -> None:
    project.add("three", DROP, "two")
    commit(project)
    git("switch", "--quiet", "main", cwd=project.folder)
    project.add("other", DROP, "two")
    commit(project)
    git("switch", "--quiet", "feature", cwd=project.folder)

    assert looked_at(project) == ["three"]


def test_the_guard_works_from_a_folder_of_the_project(project: GuardProject) -> None:
    project.add("three", DROP, "two")
    inside = GuardProject(project.versions)

    assert inside.guard().report["looked_at"] == ["three.py"]


def test_a_project_in_a_folder_of_its_repository(tmp_path: Path) -> None:
    git("init", "--quiet", "--initial-branch=main", cwd=tmp_path)
    project = GuardProject(tmp_path / "services/a b")
    project.add("one", DROP)
    other = GuardProject(tmp_path / "services/other")
    other.add("one", DROP)
    commit(project)
    project.add("two", DROP, "one")
    other.add("two", DROP, "one")

    assert project.guard().report["looked_at"] == ["migrations/versions/two.py"]


def test_another_base_branch_can_be_named(project: GuardProject) -> None:
    project.add("three", DROP, "two")
    commit(project)
    git("branch", "develop", cwd=project.folder)
    project.add("four", DROP, "three")

    assert looked_at(project, "--base", "develop") == ["four"]
    project.configure('[tool.slipway]\nbase-branch = "develop"\n')
    assert looked_at(project) == ["four"]
    assert looked_at(project, "--base", "main") == ["four", "three"]


def test_the_branch_of_the_remote_is_enough(project: GuardProject) -> None:
    """As in CI, where only the branch that is built is there."""
    git("update-ref", "refs/remotes/origin/main", "main", cwd=project.folder)
    git("branch", "--quiet", "--delete", "--force", "main", cwd=project.folder)
    project.add("three", DROP, "two")

    assert looked_at(project) == ["three"]
    assert looked_at(project, "--base", "main") == ["three"]


def test_before_the_first_commit_all_is_new(tmp_path: Path) -> None:
    git("init", "--quiet", cwd=tmp_path)
    project = GuardProject(tmp_path)
    project.add("one", DROP)

    assert looked_at(project) == ["one"]


def test_selections(project: GuardProject) -> None:
    file = project.add("three", DROP, "two")

    assert looked_at(project, "--all") == ["one", "three", "two"]
    assert looked_at(project, "--since", "one") == ["three", "two"]
    assert looked_at(project, file) == ["three"]
    assert looked_at(project, "migrations/versions/one.py") == ["one"]


def test_a_baseline_is_not_judged(project: GuardProject) -> None:
    project.configure('[tool.slipway]\nbaseline = "one"\n')

    assert looked_at(project, "--all") == ["two"]
    assert looked_at(project, project.versions / "one.py") == ["one"]


# ---- Merged revisions


def test_a_merged_revision_that_was_edited_is_an_error(project: GuardProject) -> None:
    project.add("one", 'op.execute("DROP TABLE u")')
    for arguments in ([], ["--all"], ["--since", "two"], [project.versions / "one.py"]):
        answer = project.guard(*arguments)
        assert answer.code == 1
        assert "edited-history" in answer.rules("one")
    assert "edited-history" not in project.guard(project.versions / "two.py").rules()


def test_a_merged_revision_that_was_deleted_is_an_error(project: GuardProject) -> None:
    (project.versions / "two.py").unlink()

    assert project.guard().rules() == ["edited-history"]


def test_comments_docstring_and_layout_are_no_edit(project: GuardProject) -> None:
    file = project.versions / "one.py"
    file.write_text(f'"""What it does."""\n\n# why\n{file.read_text()}')

    answer = project.guard()
    assert (answer.code, answer.rules(), answer.report["looked_at"]) == (0, [], [])


def test_a_file_that_was_only_renamed_is_neither_new_nor_deleted(project: GuardProject) -> None:
    (project.versions / "two.py").rename(project.versions / "2026_two.py")

    answer = project.guard()
    assert (answer.rules(), answer.report["looked_at"]) == ([], [])


def test_a_file_that_was_renamed_and_edited_is_an_error(project: GuardProject) -> None:
    (project.versions / "two.py").unlink()
    file = project.add("two", "pass", "one")
    file.rename(project.versions / "2026_two.py")

    assert project.guard().rules() == ["edited-history"]


# ---- The chain


def test_two_heads_are_an_error_of_the_new_one(project: GuardProject) -> None:
    project.add("three", "pass", "one")

    answer = project.guard()
    assert answer.rules("three") == ["multiple-heads"]
    assert answer.rules() == ["multiple-heads"]
    message = answer.report["findings"][0]["message"]
    assert "two" in message
    assert "three" in message


def test_a_merge_revision_is_clean(project: GuardProject) -> None:
    project.add("three", "pass", "one", downgrade="pass")
    project.add("merge", "pass", ("two", "three"), downgrade="pass")

    assert project.guard().rules() == []


BROKEN = {
    "missing parent": "revision = 'three'\ndown_revision = 'nobody'\n",
    "taken id": "revision = 'two'\ndown_revision = 'one'\n",
    "no id": "x = 1\n",
    "own parent": "revision = 'three'\ndown_revision = 'three'\n",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_chain_is_an_error(project: GuardProject, fault: str) -> None:
    file = project.write("three", f"{BROKEN[fault]}def upgrade(): pass\ndef downgrade(): pass\n")

    for arguments in ([], [file]):
        answer = project.guard(*arguments)
        assert answer.code == 1
        assert "multiple-heads" in answer.rules()


def test_a_circle_ends(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    project.add("one", "pass", "two")
    project.add("two", "pass", "one")

    assert "multiple-heads" in project.guard("--all").rules()


def test_a_revision_with_a_long_id_is_an_error(project: GuardProject) -> None:
    file = project.add("x" * 33, "pass", "two")
    assert project.guard(file).rules() == ["long-revision-id"]
    assert project.guard(project.add("y" * 32, "pass", "two")).rules() == []


# ---- The name that the library had before

OLD = """
import sqlalchemy as sa
from alembic import op
from migrator.operations import create_index_concurrently

revision = "three"
down_revision = "two"


def upgrade():
    create_index_concurrently("i", "t", ["a"])


def downgrade():
    op.execute("SELECT 1")
"""
RENAMED = OLD.replace("migrator", "slipway")
# Formatters sort the imports anew.
SORTED = RENAMED.replace("import sqlalchemy as sa\n", "").replace(
    "revision =", "import sqlalchemy as sa\nrevision =", 1
)


@pytest.mark.parametrize("text", [RENAMED, SORTED], ids=["renamed", "and sorted"])
def test_a_merged_revision_may_have_its_imports_renamed(project: GuardProject, text: str) -> None:
    git("switch", "--quiet", "main", cwd=project.folder)
    file = project.write("three", OLD)
    commit(project)
    git("switch", "--quiet", "--create", "update", cwd=project.folder)

    file.write_text(text)
    assert project.guard().rules() == []
    file.write_text(text.replace('"i"', '"j"'))
    assert project.guard().rules() == ["edited-history"]
    file.write_text(text.replace("slipway.operations", "slipway.others"))
    assert project.guard().rules() == ["edited-history"]


def test_an_old_import_that_is_left_is_found_with_what_rewrites_it(project: GuardProject) -> None:
    git("switch", "--quiet", "main", cwd=project.folder)
    file = project.write("three", OLD)
    commit(project)

    [finding] = project.guard().report["findings"]
    assert (finding["rule"], finding["severity"]) == ("old-import", "error")
    assert (finding["line"], finding["instead"]) == (4, REWRITE)
    assert "old-import" in project.guard(file).rules()
    assert project.guard(project.versions / "one.py").rules() == ["drop-table"]


def test_a_package_of_that_name_is_somebody_else_s(project: GuardProject) -> None:
    project.write("three", OLD.replace("create_index_concurrently", "anything"))
    package = project.folder / "migrator"
    (package / "__pycache__").mkdir(parents=True)
    assert "old-import" in project.guard().rules()

    (package / "__init__.py").write_text("")
    (package / "operations.py").write_text("def anything(*arguments):\n    pass\n")
    assert "old-import" not in project.guard().rules()


# ---- What revisions before left behind


def test_each_branch_has_its_own_past(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    project.add("base", 'op.execute("CREATE TABLE t (a int, CONSTRAINT c CHECK (a IS NOT NULL))")')
    project.add("left", 'op.execute("ALTER TABLE t DROP CONSTRAINT c")', "base")
    project.add("right", "pass", "base")
    project.add("after_left", 'op.alter_column("t", "a", nullable=False)', "left")
    project.add("after_right", 'op.alter_column("t", "a", nullable=False)', "right")

    answer = project.guard("--all")
    assert "set-not-null-scan" in answer.rules("after_left")
    assert "set-not-null-scan" not in answer.rules("after_right")


def test_a_merge_knows_what_all_branches_left(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    project.add("base", 'op.execute("CREATE TABLE t (a int, b int)")')
    check = 'op.execute("ALTER TABLE t ADD CONSTRAINT c_{0} CHECK ({0} IS NOT NULL)")'
    project.add("left", check.format("a"), "base")
    project.add("right", 'op.execute("CREATE TABLE u (x int NOT NULL)")', "base")
    project.add("merge", "pass", ("left", "right"))
    project.add("after", 'op.alter_column("u", "x", nullable=False)', "merge")

    assert project.guard("--all").rules("after") == []


def test_names_follow_what_is_renamed(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    project.add("base", 'op.execute("CREATE TABLE t (a int, b varchar(9))")')
    project.add(
        "check", 'op.execute("ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL)")', "base"
    )
    project.add(
        "renames",
        'op.execute("ALTER TABLE t RENAME TO u")\nop.execute("ALTER TABLE u RENAME COLUMN b TO d")',
        "check",
    )
    project.add("after", 'op.alter_column("u", "a", nullable=False)', "renames")
    project.add("widen", 'op.alter_column("u", "d", type_=sa.Text())', "after")

    answer = project.guard("--all")
    assert answer.rules("after") == []
    [finding] = [f for f in answer.report["findings"] if f["revision"] == "widen"]
    assert finding["severity"] == "warning"
