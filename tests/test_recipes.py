"""Every recipe in the migrations guide is followed to the letter, with rows in the tables."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.guard.record import record
from slipway.guard.sql.parser import parse
from tests.conftest import ROOT
from tests.project import Project

GUIDE = (ROOT / "template/docs/migrations.md").read_text(encoding="utf-8")
EXAMPLE = "000000000001"

Block = tuple[str, str, str]  # language, path and code


def recipes() -> dict[str, list[Block]]:
    """The blocks of each recipe that has some."""
    _, _, text = GUIDE.partition("\n## Recipes\n")
    sections = text.partition("\n## ")[0].split("\n### ")[1:]
    found = {}
    for section in sections:
        title, _, body = section.partition("\n")
        blocks = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", body, re.DOTALL | re.MULTILINE)
        if any(language == "console" for language, _, _ in blocks):
            found[title] = blocks
    return found


@pytest.fixture
def with_rows(project: Project) -> Iterator[Project]:
    with project.background("devdb", "sleep", "300"):
        project.just("migrate-up")
        project.sql(
            "INSERT INTO users (email, full_name) "
            "SELECT format('User%s@Example.com', n), format('User %s', n) "
            "FROM generate_series(1, 2500) AS n"
        )
        project.sql("INSERT INTO posts (author_id, title, body) SELECT id, email, '' FROM users")
        yield project


@pytest.mark.slow
@pytest.mark.parametrize("title", recipes())
def test_a_recipe_leads_where_it_says(with_rows: Project, title: str) -> None:
    project = with_rows

    follow(project, recipes()[title])

    if title == "Tables that a library brings":
        for addition in ("roles", "permissions", "oauth_accounts", "passkeys"):
            [file] = [path for path in project.revisions() if f"add_{addition}" in path.name]
            assert_only_creates_tables(file)
    project.just("migrate-check")
    project.just("migrate-guard")
    project.uv_run("ruff", "check", "src/app", "src/migrations")
    project.uv_run("ruff", "format", "--check", "src/app", "src/migrations")
    # What was dropped comes back empty, so the column cannot be required again as it was before.
    project.just("migrate-down", "-1" if title == "Drop a column" else EXAMPLE)
    project.just("migrate-up")
    project.just("migrate-check")


def assert_only_creates_tables(revision: Path) -> None:
    """And what belongs to them; nothing is done to another table."""
    [recording] = record([revision], sys.path)
    assert not recording.error
    statements = [found for sent in recording.statements for found in parse(sent.sql)]
    created = {name for s in statements if s.kind == "CREATE TABLE" for name in s.targets}
    assert created
    for statement in statements:
        assert statement.kind == "CREATE TABLE" or (
            statement.kind == "CREATE INDEX" and statement.table in created
        ), statement


def follow(project: Project, blocks: list[Block]) -> None:
    for language, path, code in blocks:
        if language == "console":
            for line in code.splitlines():
                project_command(project, line.removeprefix("$ "))
        elif language == "diff":
            apply(project.path / path, code)
        elif named := re.match(r"# ((?:src|tests)/\S+)\n", code):
            project.write(named[1], code.partition("\n")[2])
        elif language == "python":
            newest = max(project.revisions(), key=lambda path: path.stat().st_mtime_ns)
            fill_in(newest, code)


def project_command(project: Project, command: str) -> None:
    words = shlex.split(command)
    if words[:2] == ["uv", "add"]:
        project.uv_run("uv", *words[1:])
    else:
        assert words[0] == "just", command
        project.just(*words[1:])


def apply(file: Path, change: str) -> None:
    """Make a change that is shown as lines with `-` and `+`, among lines that stay."""
    lines = change.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} does not have once:\n{old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def fill_in(revision: Path, code: str) -> None:
    """Put code in the place of the empty functions of a new migration."""
    lines = code.splitlines()
    imports = "\n".join(line for line in lines if line.startswith("from "))
    body = "\n".join(line for line in lines if not line.startswith("from ")).strip()
    head = revision.read_text(encoding="utf-8").partition("\n\ndef upgrade")[0].rstrip()
    if imports:
        head = head.replace("import op\n", f"import op\n{imports}\n", 1)
    revision.write_text(f"{head}\n\n\n{body}\n", encoding="utf-8")
