"""The image that migrates: loud when it fails, silent when there is nothing to do."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from packages.slipway.tests.processes import until
from tests.containers.engine import Postgres, built, docker, inspect
from tests.project import Project

pytestmark = pytest.mark.docker

RUNNING = "Running upgrade"
REVISION = '''
"""what does not work"""

from alembic import op

revision = "bad"
down_revision = "000000000001"


def upgrade() -> None:
    op.execute("{sql}")


def downgrade() -> None:
    pass
'''


# Over TCP, which alone has keepalives.
KEEPALIVE = """
import asyncio, sys
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from slipway.env import Policy, connect

async def main():
    engine = create_async_engine(sys.argv[1], connect_args=Policy().connect_args("asyncpg"))
    async with connect(engine) as connection:
        print(await connection.scalar(text("SHOW tcp_keepalives_idle")))
    await engine.dispose()

asyncio.run(main())
"""


def complaints(printed: str) -> list[str]:
    """What is printed beside the log of what is done."""
    return [line for line in printed.splitlines() if not line.startswith('{"level": "info"')]


def tables(database: Postgres, url: str) -> set[str]:
    return set(
        database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", url).split()
    )


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("", "DATABASE_URL"),
        ("mysql://app:s3cret@db/app", "DATABASE_URL"),
        ("postgresql://app:s3cret@nowhere.invalid/app", "nowhere.invalid"),
        ("postgresql://app:change-me@db/app", "DATABASE_URL"),
    ],
)
def test_a_bad_url_is_one_line(
    migrate_image: str, database: Postgres, url: str, named: str
) -> None:
    done = database.run(migrate_image, DATABASE_URL=url)

    assert done.returncode
    [line] = complaints(done.stderr)
    assert named in line
    assert "s3cret" not in done.stderr


def test_a_wrong_password_is_one_line(migrate_image: str, database: Postgres) -> None:
    url = database.create_database()

    done = database.run(migrate_image, DATABASE_URL=url.replace(database.password, "s3cret"))

    assert done.returncode
    [line] = complaints(done.stderr)
    assert "password" in line
    assert "s3cret" not in line


def test_a_second_run_does_nothing(migrate_image: str, database: Postgres) -> None:
    url = database.create_database()

    first, second = (database.run(migrate_image, DATABASE_URL=url) for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0)
    assert RUNNING in first.stderr
    assert RUNNING not in second.stderr
    assert tables(database, url) == {"alembic_version", "posts", "users"}


def test_five_runs_at_once_apply_each_revision_once(migrate_image: str, database: Postgres) -> None:
    url = database.create_database()
    together = threading.Barrier(5)

    def run(_: int) -> tuple[int, str]:
        together.wait()
        done = database.run(migrate_image, DATABASE_URL=url)
        return done.returncode, done.stderr

    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(run, range(5)))

    assert [code for code, _ in results] == [0] * 5
    assert sum(printed.count(RUNNING) for _, printed in results) == 1


def test_a_failing_revision_is_one_line_and_leaves_nothing(
    project: Project, database: Postgres
) -> None:
    url = database.create_database()
    project.write("src/migrations/versions/bad.py", REVISION.format(sql="SELECT 1 / 0"))

    with built(project.path, "migrate") as image:
        done = database.run(image, DATABASE_URL=url)

    assert done.returncode
    [line] = complaints(done.stderr)
    assert line.startswith("bad.py, line ")
    assert database.sql("SELECT version_num FROM alembic_version", url) == "000000000001"


def test_a_run_that_is_stopped_rolls_back(project: Project, database: Postgres) -> None:
    url = database.create_database()
    sql = "CREATE TABLE half AS SELECT 1 FROM pg_sleep(50)"
    project.write("src/migrations/versions/slow.py", REVISION.format(sql=sql))

    with built(project.path, "migrate") as image, database.running(image, DATABASE_URL=url) as name:
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        until(lambda: database.sql(sleeping, url) == "1")
        docker("stop", "--time", "60", name)

        assert inspect(name)["State"]["ExitCode"] == 130  # as after Ctrl-C; 137 would be SIGKILL
        assert complaints(docker("logs", name).stderr) == []
    assert "half" not in tables(database, url)


def test_the_image_does_what_else_alembic_can(migrate_image: str, database: Postgres) -> None:
    url = database.create_database()
    database.run(migrate_image, DATABASE_URL=url)

    done = database.run(migrate_image, "downgrade", "base", DATABASE_URL=url)

    assert done.returncode == 0
    assert tables(database, url) == {"alembic_version"}


def test_a_silent_connection_is_kept_known_to_the_network(
    migrate_image: str, database: Postgres
) -> None:
    url = database.create_database().replace("postgresql://", "postgresql+asyncpg://")

    options = [*database.options({}), "--entrypoint", "python"]
    printed = docker("run", "--rm", *options, migrate_image, "-c", KEEPALIVE, url).stdout

    assert 0 < int(printed) < 240  # seconds; Azure's load balancer forgets after 4 minutes
