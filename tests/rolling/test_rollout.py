"""A deployment loses no request: old replicas serve while it migrates, new ones take over."""

from pathlib import Path

import psycopg
import pytest

from tests.project import Project
from tests.rolling.conftest import Databases
from tests.rolling.load import load
from tests.rolling.proxy import proxied
from tests.rolling.replicas import replicas
from tests.rolling.rollout import BOUND, Steps, roll_out
from tests.rolling.scenarios import SCENARIOS, Scenario, write

pytestmark = pytest.mark.slow


def fill(url: str, posts: int) -> None:
    """Rows in both tables; keys are not checked, which would take most of the time."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO users (email, full_name) "
            "SELECT format('user%s@example.com', n), format('User %s', n) "
            "FROM generate_series(1, 1000) AS n"
        )
        connection.execute(
            "INSERT INTO posts (author_id, title, body) "
            "SELECT (SELECT id FROM users LIMIT 1), format('Title %%s', n), '' "
            "FROM generate_series(1, %s) AS n",
            (posts,),
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_rollout_fails_no_request_and_keeps_none_waiting(
    project: Project, databases: Databases, tmp_path: Path, scenario: Scenario
) -> None:
    old, *releases = write(project, scenario, databases(), tmp_path)
    production = databases()
    done = old.run("alembic", "upgrade", "head", DATABASE_URL=production)
    assert done.returncode == 0, done.stdout
    fill(production, scenario.rows)
    steps = Steps()
    with (
        replicas(old, production, tmp_path / "logs") as running,
        proxied([replica.port for replica in running]) as proxy,
        load(proxy.url) as requests,
    ):
        for number, release in enumerate(releases, 1):
            problem = roll_out(f"release {number}", release, running, proxy, steps)
            assert problem is None, problem

    assert len(requests) > 100
    assert not [request for request in requests if request.failed], steps.describe(requests)
    slow = [request for request in requests if request.seconds > BOUND]
    assert not slow, steps.describe(requests)
