"""The guard and autogenerate are of one mind about what is safe."""

from pathlib import Path

import pytest

from tests.migrator.changes import CHANGES, Change
from tests.migrator.guard.project import GuardProject
from tests.migrator.rehearsal import database


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.slug)
def test_what_autogenerate_writes_has_an_error_only_where_it_asks_its_author_to_act(
    server: str, tmp_path: Path, change: Change
) -> None:
    with database(server, tmp_path) as history:
        history.models(change.before)
        code, printed = history.run(
            ["revision", "--autogenerate", "-m", "before"], ["upgrade", "head"]
        )
        assert code == 0, printed
        history.models(change.after)
        files = history.generate(change.name)

        report = GuardProject(history.folder).guard(*files).report

    errors = {f["rule"] for f in report["findings"] if f["severity"] == "error"}
    if change.expect == "author must act":
        assert errors
    else:
        assert not errors, report["findings"]
