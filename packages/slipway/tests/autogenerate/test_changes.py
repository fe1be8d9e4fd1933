"""What autogenerate writes for a model change, run on tables with rows while a service works."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packages.slipway.tests.changes import CHANGES, Change
from packages.slipway.tests.guard.project import GuardProject
from packages.slipway.tests.modelled import FORMS, Form, ModelledHistory
from packages.slipway.tests.rehearsal import (
    LOCK_TIMEOUT,
    Outcome,
    database,
    described,
    prepare,
    upgrade_under_load,
)

ROWS = 3000
# A request may queue behind a statement of the migration for as long as that queues for its lock,
# and then until the revision has committed. What busy cores add is measured in the same run: it is
# the longest wait of a request that touches no table. A request that waits for the slow client, by
# way of a migration that does not give up, waits for `SLOW`, which is more than all of this.
MARGIN = 1.0

BY_NAME = {change.name: change for change in CHANGES}
# What depends on names, on the driver and on the template, in the forms other than the first.
IN_OTHER_FORMS = zip(
    [form for form in FORMS[1:] for _ in range(2)],
    [
        "add team to users",
        "add two foreign keys to one table",
        "everything on one column",
        "names that need quotes",
        "change what a foreign key does on delete",
        "names that are too long",
        "changes of two tables, with a new one between",
        "add a unique constraint with nulls not distinct",
        "change a table in another schema",
        "a check changes under its name",
    ],
    strict=True,
)


def cases() -> Iterator[Any]:
    for change in CHANGES:
        yield pytest.param(change, FORMS[0], id=change.slug)
    for form, name in IN_OTHER_FORMS:
        yield pytest.param(BY_NAME[name], form, id=f"{BY_NAME[name].slug}-{form}")


@pytest.fixture
def changing(server: str, tmp_path: Path) -> Iterator[ModelledHistory]:
    with database(server, tmp_path) as history:
        yield history


@pytest.mark.slow
@pytest.mark.parametrize(("change", "form"), list(cases()))
def test_the_service_works_on_while_a_change_is_applied_and_reverted(
    server: str, tmp_path: Path, change: Change, form: Form
) -> None:
    with database(server, tmp_path, form) as history:
        outcome = assert_applied_and_reverted(server, history, change)

    slowest = outcome.slowest
    assert slowest is not None
    assert slowest.seconds < LOCK_TIMEOUT + outcome.noise + MARGIN, (slowest, outcome.printed)


def assert_applied_and_reverted(server: str, history: ModelledHistory, change: Change) -> Outcome:
    service = prepare(history, change, ROWS)
    before = history.schema()
    history.models(change.after)
    files = history.generate(change.name)
    assert_says_what_it_must(change, files)
    assert_the_guard_agrees(history, change, files)

    outcome = upgrade_under_load(history, service)

    assert_nobody_was_harmed(change, outcome)
    if change.expect == "applied":
        assert outcome.code == 0, outcome.printed
        assert history.schema() == described(server, change.after, history.form)
        assert_can_be_reverted(history, change, len(files), before)
    elif change.expect == "refused":
        assert outcome.code != 0, outcome.printed
    return outcome


def assert_says_what_it_must(change: Change, files: list[Path]) -> None:
    assert files
    text = "\n".join(path.read_text() for path in files)
    assert ("TODO" in text) == (change.expect == "author must act"), text
    if change.kind == "contract" and change.expect == "applied":
        assert 'phase = "contract"' in text, text
    for words in change.says:
        assert words in text, text


def assert_the_guard_agrees(history: ModelledHistory, change: Change, files: list[Path]) -> None:
    """It has errors only where the author is asked to act."""
    report = GuardProject(history.folder).guard(*files).report
    errors = [found for found in report["findings"] if found["severity"] == "error"]
    assert bool(errors) == (change.expect == "author must act"), errors


def assert_nobody_was_harmed(change: Change, outcome: Outcome) -> None:
    assert "Traceback" not in outcome.printed, outcome.printed
    assert outcome.failed == [], outcome.printed
    assert len(outcome.stale_plans) <= change.changes_type, outcome.stale_plans


def assert_can_be_reverted(
    history: ModelledHistory, change: Change, revisions: int, before: set[str]
) -> None:
    after = history.schema()
    steps = [["downgrade", "-1"], ["upgrade", "+1"], ["downgrade", "-1"]] * revisions
    code, printed = history.run(["check"], *steps)
    assert code == 0, printed
    if not change.lasting:
        # A constraint that comes back is not checked again for the rows that are there.
        assert {line.replace(" NOT VALID", "") for line in history.schema()} == before
    code, printed = history.run(["upgrade", "head"], ["check"])
    assert code == 0, printed
    assert history.schema() == after


@pytest.mark.slow
def test_what_stock_alembic_writes_makes_the_service_wait(
    server: str, changing: ModelledHistory, tmp_path: Path
) -> None:
    """Without this, the tests above could pass because nothing is measured."""
    change = BY_NAME["add an index"]
    history = ModelledHistory(tmp_path, changing.url, stock=True)
    service = prepare(history, change, ROWS)
    history.models(change.after)
    history.generate(change.name)

    outcome = upgrade_under_load(history, service)

    assert outcome.code == 0, outcome.printed
    assert outcome.slowest
    assert outcome.slowest.seconds > LOCK_TIMEOUT + MARGIN


@pytest.mark.slow
def test_the_schema_is_what_the_models_say_after_each_change(
    server: str, changing: ModelledHistory
) -> None:
    changing.models(BY_NAME["add an index"].before)
    code, printed = changing.run(["revision", "--autogenerate", "-m", "first"], ["upgrade", "head"])
    assert code == 0, printed

    # Each starts from the models of the one before, so what that added goes away again.
    for name in ("add a unique constraint", "two columns become not null", "add an enum column"):
        changing.models(BY_NAME[name].after)
        code, printed = changing.run(
            ["revision", "--autogenerate", "-m", name], ["upgrade", "head"], ["check"]
        )

        assert code == 0, printed
        assert changing.schema() == described(server, BY_NAME[name].after)
