"""What readiness asks of a database, against what the runner leaves there."""

import subprocess
import sys

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from packages.slipway.tests.history import History
from packages.slipway.tests.processes import until
from packages.slipway.tests.runner.test_run import COLUMN, TABLE
from slipway.heads import Applied, missing, read_applied, read_revisions


def applied(history: History) -> Applied:
    url = make_url(history.url).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return read_applied(connection)


IMPORTED = """
import sys
import sqlalchemy
before = set(sys.modules)
import slipway.heads
print(*sorted(name for name in set(sys.modules) - before))
"""


def test_importing_it_loads_nothing_but_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["slipway", "slipway.heads"]


@pytest.mark.slow
def test_behind_at_and_ahead(history: History) -> None:
    folder = history.folder / "migrations"
    history.add(TABLE)
    old = read_revisions(folder)
    assert missing(old, applied(history)) == {"0001"}
    history.upgrade()
    assert not missing(old, applied(history))

    history.add(COLUMN)
    new = read_revisions(folder)
    assert missing(new, applied(history)) == {"0002"}
    history.upgrade()
    assert not missing(new, applied(history))
    assert not missing(old, applied(history))

    history.alembic("downgrade", "-1")
    assert missing(new, applied(history)) == {"0002"}


@pytest.mark.slow
def test_the_last_release_stays_ready_while_the_next_one_migrates(history: History) -> None:
    history.add(TABLE)
    history.upgrade()
    # A run that was killed between its last commit and its note leaves this.
    history.sql("COMMENT ON TABLE alembic_version IS NULL")
    old = read_revisions(history.folder / "migrations")
    history.add(COLUMN)
    history.add('op.execute("SELECT pg_sleep(600)")')
    run = history.start()
    until(lambda: history.at() == ["0002"])

    assert not missing(old, applied(history))

    run.kill()
    run.communicate()
