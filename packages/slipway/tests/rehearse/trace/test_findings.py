"""What statements and what they leave behind prove."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from packages.slipway.tests.rehearse.project import Rehearsed, Tracing, rehearsed
from slipway.project.source import Source, read
from slipway.rehearse.trace.findings import (
    failed_upgrade,
    left_behind,
    repeated,
    reverted,
    statement_findings,
)
from slipway.rehearse.trace.schema_snapshot import SchemaSnapshot, read_schema_snapshot
from slipway.report import Finding, severe


def state(project: Rehearsed) -> SchemaSnapshot:
    async def read_it() -> SchemaSnapshot:
        engine = create_async_engine(project.asyncpg, poolclass=NullPool)
        async with engine.connect() as connection:
            return await read_schema_snapshot(connection)

    return asyncio.run(read_it())


def rules(findings: list[Finding]) -> list[str]:
    return [finding.rule for finding in findings]


# ---- Statements

SCAN_AFTER_LOCK = """
op.add_column("org", sa.Column("x", sa.Text()))
op.execute("UPDATE acct SET age = 0")
"""


def test_a_finding_names_table_lock_and_line(tracing: Tracing) -> None:
    run = tracing.code('op.create_check_constraint("c", "acct", "age > 0")')

    [finding] = statement_findings(run.statements)

    assert finding.rule == "scanned-under-lock"
    for part in ("50 rows", "acct", "ACCESS EXCLUSIVE", "reads and writes"):
        assert part in finding.message
    assert "create_check_constraint" in finding.file.read_text().splitlines()[finding.line - 1]


def test_what_blocks_writes_only_says_so(tracing: Tracing) -> None:
    run = tracing.code('op.create_index("ix_e", "acct", ["email"])')

    [finding] = statement_findings(run.statements)

    assert "which blocks writes" in finding.message


def test_a_scan_makes_others_wait_for_the_lock_of_another_table(tracing: Tracing) -> None:
    run = tracing.code(SCAN_AFTER_LOCK)

    [finding] = statement_findings(run.statements)

    assert "of acct" in finding.message
    assert "org was locked ACCESS EXCLUSIVE" in finding.message


@pytest.mark.parametrize("small", ["org", "acct"])
def test_of_small_tables_locks_do_not_matter(tracing: Tracing, small: str) -> None:
    run = tracing.code(SCAN_AFTER_LOCK)

    assert list(statement_findings(run.statements, {small})) == []


def test_small_tables_are_no_links_of_a_chain(tracing: Tracing) -> None:
    run = tracing.code(
        'op.add_column("acct", sa.Column("x", sa.Text()))\n'
        'op.add_column("org", sa.Column("y", sa.Text()))'
    )

    assert rules(list(statement_findings(run.statements))) == ["locked-in-chain"]
    assert list(statement_findings(run.statements, {"org"})) == []
    assert list(statement_findings(run.statements, {"acct"})) == []


def test_the_project_decides_how_severe_it_is(tracing: Tracing) -> None:
    found = list(statement_findings(tracing.code('op.execute("REINDEX TABLE acct")').statements))

    [finding] = severe(found + found, {"scanned-under-lock": "info"})

    assert finding.severity == "info"
    assert severe(found, {"scanned-under-lock": "off"}) == []


def test_an_upgrade_that_fails_is_an_error_in_its_line(tracing: Tracing) -> None:
    run = tracing.code('op.execute("SELECT 1")\nop.drop_column("acct", "none")')
    assert run.failure

    finding = failed_upgrade(run.failure)

    assert finding.severity == "error"
    assert "drop_column" in finding.file.read_text().splitlines()[finding.line - 1]


# ---- What is left behind, and the way back


@pytest.fixture
def source(project: Rehearsed) -> Source:
    return read(project.versions / "start.py")


def left(project: Rehearsed, name: str, upgrade: str, repair: str = "SELECT 1") -> list[Finding]:
    """What a revision leaves behind, if somebody repairs it afterwards."""
    file = project.add(name, upgrade, "start")
    before = state(project)
    run = project.trace(name)
    after = state(project)
    project.sql(repair)
    found = left_behind(read(file), run.statements, before, after, state(project))
    project.trace("start", "downgrade")
    return list(found)


def test_a_foreign_key_not_valid_and_without_an_index(project: Rehearsed) -> None:
    key = '"fk_n", "acct", "org", ["org_id"], ["id"], postgresql_not_valid=True'
    code = f'op.execute("SELECT 1")\nop.create_foreign_key({key})'

    found = left(project, "foreign", code)

    assert sorted(rules(found)) == ["constraint-not-validated", "foreign-key-without-index"]
    for finding in found:
        line = finding.file.read_text().splitlines()[finding.line - 1]
        assert "create_foreign_key" in line
        assert "fk_n" in finding.message
    project.sql("ALTER TABLE acct DROP CONSTRAINT fk_n")


def test_what_is_repaired_later_is_no_finding(project: Rehearsed) -> None:
    code = 'op.execute("ALTER TABLE acct ADD CONSTRAINT c_n CHECK (age > 0) NOT VALID")'

    assert left(project, "later", code, "ALTER TABLE acct VALIDATE CONSTRAINT c_n") == []
    project.sql("ALTER TABLE acct DROP CONSTRAINT c_n")


def test_a_build_that_fails_leaves_an_invalid_index(project: Rehearsed) -> None:
    found = left(project, "broken", 'create_index_concurrently("u", "acct", ["note"], unique=True)')

    [finding] = found
    assert (finding.rule, finding.severity) == ("invalid-index", "error")
    assert "u of acct" in finding.message
    project.sql("DROP INDEX u")


WAYS_BACK = {
    "all": ('op.drop_column("org", "back")', []),
    "none": ("pass", ["downgrade-differs"]),
    "more": ('op.drop_column("org", "back")\nop.drop_column("org", "name")', ["downgrade-differs"]),
    "fails": ('op.drop_column("org", "nothing")', ["downgrade-fails"]),
    "explained": ("# what was there is gone\npass", []),
    "refused": ('raise NotImplementedError("restore a backup")', []),
}


@pytest.mark.parametrize("name", WAYS_BACK)
@pytest.mark.slow
def test_the_way_back(server: str, tmp_path: Path, name: str) -> None:
    downgrade, expected = WAYS_BACK[name]
    with rehearsed(server, tmp_path, "way_back") as project:
        add = 'op.add_column("org", sa.Column("back", sa.Text()))'
        file = project.add("back", add, "start", downgrade=downgrade)
        before = state(project)
        assert project.trace("back").failure is None
        run = project.trace("start", "downgrade")

        found = list(reverted(read(file), run.failure, before, state(project)))

        assert rules(found) == expected
        contract = read(project.write("back", file.read_text() + '\nphase = "contract"\n'))
        told = reverted(contract, run.failure, before, state(project))
        assert {finding.severity for finding in told} <= {"info"}


def test_the_same_road_twice_ends_at_the_same_place(source: Source) -> None:
    first, second = (
        SchemaSnapshot(schema=frozenset({"a", "b"})),
        SchemaSnapshot(schema=frozenset({"b", "c"})),
    )

    assert list(repeated(source, first, first)) == []
    [finding] = repeated(source, first, second)
    assert "without a" in finding.message
    assert "with c" in finding.message
