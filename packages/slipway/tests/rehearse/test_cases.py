"""What PostgreSQL does in migrations of all kinds, seen by the trace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from packages.slipway.tests.guard.catalogue import BASE, REHEARSED
from packages.slipway.tests.guard.project import Case
from packages.slipway.tests.rehearse.project import rehearsed, trace_all
from slipway.rehearse.trace.child import MigrationRun
from slipway.rehearse.trace.findings import statement_findings

FACTS = {
    "rewritten-under-lock": "rewrite",
    "scanned-under-lock": "scan",
    "locked-in-chain": "chain",
}
# Besides what the catalogue says: a foreign key also locks the table that it refers to, and the
# runner refuses to call something done that Alembic could not write down.
BESIDES = {"add_column_fk_two_statements": {"chain"}, "bind_commit": {"fails"}}


def facts(run: MigrationRun) -> set[str]:
    found = {FACTS[finding.rule] for finding in statement_findings(run.statements)}
    return found | ({"fails"} if run.failure else set())


@pytest.fixture(scope="module")
def runs(
    server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, MigrationRun]]:
    folder = tmp_path_factory.mktemp("cases")
    with rehearsed(server, folder, "catalogue", BASE) as project:
        revisions = project.add_cases(REHEARSED)
        found = trace_all(project, server, revisions.values())
        yield dict(zip(revisions, found, strict=True))


@pytest.mark.representative
@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in REHEARSED])
def test_the_trace_finds_exactly_what_postgresql_does(
    runs: dict[str, MigrationRun], case: Case
) -> None:
    assert facts(runs[case.id]) == set(case.facts) | BESIDES.get(case.id, set())
    assert {Path(s.file).parent.name for s in runs[case.id].statements} <= {"versions"}
