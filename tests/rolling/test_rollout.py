"""A deployment loses no request: old replicas serve while it migrates, new ones take over."""

from pathlib import Path

import pytest

from tests.project import Project
from tests.rolling.conftest import Databases
from tests.rolling.rollout import roll_out
from tests.rolling.scenarios import SCENARIOS, Scenario, prepare, write

pytestmark = [pytest.mark.slow, pytest.mark.timing]

# Who waits for the slow client waits for all of its transaction. `BOUND` is far from that and from
# what a busy machine adds, so that once is enough to tell them apart.
SLOW = 4.0
BOUND = 2.5


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_rollout_fails_no_request_and_keeps_none_waiting(
    project: Project, databases: Databases, tmp_path: Path, scenario: Scenario
) -> None:
    old, *releases = write(project, scenario, databases(), tmp_path)
    database = databases()
    prepare(old, scenario, database)

    outcome = roll_out(old, releases, database, tmp_path, slow=SLOW)

    assert outcome.problem is None, outcome.problem
    assert len(outcome.service) > 100
    assert not outcome.failed, outcome
    assert not outcome.over(BOUND), outcome
