"""What the trace tells of each statement, and what could deceive it."""

from pathlib import Path

import pytest

from packages.slipway.tests.modelled import ModelledHistory
from packages.slipway.tests.rehearse.project import Rehearsed, Tracing, database
from packages.slipway.tests.rehearse.recorded import slow_client
from slipway.project.configuration import ProjectError, load
from slipway.rehearse.model import TracedStatement
from slipway.rehearse.trace.child import MigrationRun, trace

ADD_COLUMN = 'op.add_column("acct", sa.Column("x", sa.Text()))'


def having(run: MigrationRun, text: str) -> TracedStatement:
    """The one statement with this text."""
    assert run.failure is None, run.failure
    [found] = [statement for statement in run.statements if text in statement.sql]
    return found


def test_a_statement_comes_with_its_place_and_its_locks(tracing: Tracing) -> None:
    run = tracing.code(f"op.execute('SELECT 1')\n{ADD_COLUMN}")

    found = having(run, "ADD COLUMN")
    [line] = [n for n, text in enumerate(lines(found), 1) if "add_column" in text]
    assert (found.line, found.locks) == (line, {"acct": "ACCESS EXCLUSIVE"})
    assert [done.revision for done in run.applied] == [found.revision]


def lines(statement: TracedStatement) -> list[str]:
    return Path(statement.file).read_text().splitlines()


def test_a_scan_is_blamed_on_the_statement_that_scans(tracing: Tracing) -> None:
    run = tracing.code(
        'op.execute("ALTER TABLE acct VALIDATE CONSTRAINT ck_note_nn")\n'
        'op.alter_column("acct", "note", nullable=False)'
    )

    assert having(run, "VALIDATE").scanned == {"acct": 50}
    assert having(run, "SET NOT NULL").scanned == {}
    assert "are sufficient" in having(run, "SET NOT NULL").server[0]


def test_what_autocommit_releases_at_once_is_seen_by_a_twin(tracing: Tracing) -> None:
    run = tracing.code('validate_constraint("fk_nv", "acct")')

    found = having(run, "VALIDATE")
    assert found.autocommit
    assert found.locks == {"acct": "SHARE UPDATE EXCLUSIVE", "org": "ROW SHARE"}
    assert found.scanned == {"acct": 50, "org": 5}


def test_the_twin_has_the_settings_of_the_session(tracing: Tracing) -> None:
    run = tracing.code(
        "with op.get_context().autocommit_block():\n"
        "    op.execute(\"SET TimeZone = 'Europe/Oslo'\")\n"
        '    op.execute("ALTER TABLE acct ALTER created TYPE timestamptz")'
    )

    assert having(run, "timestamptz").rewritten == ("acct",)


def test_a_concurrent_build_is_known_by_what_it_leaves(tracing: Tracing) -> None:
    run = tracing.code('create_index_concurrently("ix_e", "acct", ["email"])')

    assert having(run, "CREATE INDEX").locks == {"acct": "SHARE UPDATE EXCLUSIVE"}
    assert having(run, "CREATE INDEX").scanned == {}


def test_a_full_vacuum_writes_the_table_anew(tracing: Tracing) -> None:
    run = tracing.code(
        'with op.get_context().autocommit_block():\n    op.execute("VACUUM FULL acct")'
    )

    assert having(run, "VACUUM").rewritten == ("acct",)
    assert having(run, "VACUUM").locks == {"acct": "ACCESS EXCLUSIVE"}


def test_a_change_of_type_is_told_from_a_new_index(tracing: Tracing) -> None:
    wider = tracing.code('op.execute("ALTER TABLE acct ALTER email TYPE varchar(100)")')
    longer = tracing.code('op.execute("ALTER TABLE acct ALTER age TYPE bigint")')

    assert having(wider, "TYPE").rewritten == ()
    assert having(wider, "TYPE").scanned == {}
    assert having(longer, "TYPE").rewritten == ("acct",)


def test_a_loop_over_rows_is_one_statement(tracing: Tracing) -> None:
    update = "UPDATE acct SET age = 0 WHERE id = :id"
    run = tracing.code(
        f"for number in range(40):\n"
        f'    op.get_bind().execute(sa.text("{update}"), {{"id": number}})'
    )

    assert having(run, "UPDATE").times == 40


def test_a_loop_that_takes_a_lock_on_its_way_is_looked_at_again(tracing: Tracing) -> None:
    run = tracing.code(f"""
for number in range(3):
    op.execute("TABLE org")
    if number == 1:
        {ADD_COLUMN}
""")

    assert having(run, "TABLE org").held == {"acct": "ACCESS EXCLUSIVE"}
    assert having(run, "TABLE org").times == 3


def test_what_runs_outside_of_alembics_stack_has_its_line(tracing: Tracing) -> None:
    run = tracing.code(
        "async def work(connection):\n"
        '    await connection.execute(sa.text("SELECT count(*) FROM acct"))\n'
        "op.run_async(work)"
    )

    found = having(run, "count")
    assert found.scanned == {"acct": 50}
    assert "run_async" in lines(found)[found.line - 1]


def test_a_new_table_of_the_revision_counts_for_nothing(tracing: Tracing) -> None:
    run = tracing.code(
        'op.execute("CREATE TABLE n AS SELECT * FROM org")\n'
        'op.execute("ALTER TABLE n ALTER name TYPE varchar(9)")\n'
        'op.execute("CREATE INDEX ON n (name)")'
    )

    assert having(run, "varchar").locks == {}
    assert having(run, "varchar").rewritten == ()


def test_a_savepoint_that_is_rolled_back_stops_nothing(tracing: Tracing) -> None:
    run = tracing.code(
        "try:\n"
        "    with op.get_bind().begin_nested():\n"
        '        op.execute("SELECT 1 / 0")\n'
        "except sa.exc.DBAPIError:\n"
        "    pass\n" + ADD_COLUMN
    )

    assert "DivisionByZero" in having(run, "1 / 0").error
    assert having(run, "ADD COLUMN").locks == {"acct": "ACCESS EXCLUSIVE"}


def test_a_required_column_fails_on_rows(tracing: Tracing) -> None:
    run = tracing.code(
        'op.execute("SELECT 1")\nop.add_column("acct", sa.Column("x", sa.Text(), nullable=False))'
    )

    assert run.failure
    assert "NotNullViolation" in run.failure.error
    assert "\n" not in run.failure.error
    assert [bool(statement.error) for statement in run.statements] == [False, True]
    assert run.failure.line == run.statements[-1].line
    assert run.applied == ()


def test_what_the_runner_asks_is_no_statement_of_a_revision(tracing: Tracing) -> None:
    run = tracing.code('op.execute("SELECT pg_sleep(0.5)")')

    assert [statement.sql for statement in run.statements] == ["SELECT pg_sleep(0.5)"]


# ---- With a process of its own


@pytest.mark.slow
def test_watching_tells_the_times_and_sends_nothing(project: Rehearsed) -> None:
    create = 'op.execute("CREATE TEMP TABLE w ON COMMIT DROP AS SELECT 1")'
    project.add("watched", f'print("noise")\n{create}', "start")

    run = project.watch("watched")
    reverted = project.trace("start", "downgrade")

    [statement] = run.statements
    assert statement.locks == {}
    [applied] = run.applied
    assert applied.started <= statement.started
    assert statement.seconds <= applied.seconds
    assert [done.revision for done in reverted.applied] == ["watched"]


@pytest.mark.slow
def test_a_revision_that_is_in_the_way_of_somebody_is_tried_again(
    project: Rehearsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCK_TIMEOUT", "0.2")
    project.add("patient", "op.execute('SELECT 1')\nop.execute('LOCK acct')", "start")

    with slow_client(project.url, "LOCK acct"):
        run = project.watch("patient")

    [applied] = run.applied
    assert applied.attempts > 1
    assert [s.sql for s in run.statements] == ["SELECT 1", "LOCK acct"] * applied.attempts
    assert "LockNotAvailable" in run.statements[1].error
    assert run.statements[-1].error == ""
    assert project.trace("start", "downgrade").failure is None


@pytest.mark.slow
def test_an_env_with_models_is_used_as_it_is(server: str, tmp_path: Path) -> None:
    with database(server, "modelled") as url:
        history = ModelledHistory(tmp_path, url)
        history.models("")
        env = tmp_path / "migrations/env.py"
        env.write_text(env.read_text().replace('"URL"', '"DATABASE_URL"'))
        revision = history.add('op.create_table("n", sa.Column("id", sa.BigInteger))')
        asyncpg = url.replace("postgresql://", "postgresql+asyncpg://")

        run = trace(load(tmp_path), asyncpg, "head")

    assert [done.revision for done in run.applied] == [revision]
    assert "CREATE TABLE" in run.statements[0].sql


@pytest.mark.slow
def test_a_project_that_cannot_run_says_why(project: Rehearsed) -> None:
    with pytest.raises(ProjectError, match="Cannot connect"):
        trace(project.configuration, "postgresql+asyncpg://nobody@127.0.0.1:1/x", "start")
    with pytest.raises(ProjectError, match="nonsense"):
        project.trace("nonsense")


@pytest.mark.slow
def test_a_migration_that_ends_its_process_has_failed(project: Rehearsed) -> None:
    project.add("suicide", "import os\nop.execute('SELECT 1')\nos._exit(7)", "start")

    run = project.trace("suicide")

    assert run.failure
    assert "exit code 7" in run.failure.error
    assert [statement.sql for statement in run.statements] == ["SELECT 1"]


@pytest.mark.slow
def test_a_migration_that_does_not_end_is_ended(project: Rehearsed) -> None:
    project.add("endless", 'op.execute("SELECT pg_sleep(60)")', "start")

    with pytest.raises(ProjectError, match="within 5 s"):
        trace(project.configuration, project.asyncpg, "endless", seconds=5)
