"""What a test costs that uses the database, beside two common ways to keep tests apart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.harness import machine, ratio, rendered, rounds, seconds, table
from slipway import devdb
from tests.project import Project

FEW = 2
WORKERS: dict[str, tuple[str, ...]] = {"one process": (), "two workers": ("-n", "2")}
OURS = "**the template's: rolled back**"
COMMITTED = "the template's: committed, then deleted"
CREATED = "`create_all` and `drop_all` for each test"
TRUNCATED = "`TRUNCATE` after each test"

INTRODUCTION = """\
## Tests

The same {many} tests in a generated project, each of which creates a user through the API and \
finds no other one there. What differs is the fixture `client`: the template's two, and two common \
designs, written with the template's engine and application. All use one server, with durability \
off, and each worker has a database of its own. Milliseconds are those of one test more, *start* \
is a whole run of {few} tests. Medians of {rounds} interleaved rounds."""

TESTS = """\
import os

import httpx2
import pytest


@pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
async def test_a_user_is_the_only_one(client: httpx2.AsyncClient, number: int) -> None:
    email = f"user-{number}@example.com"
    created = await client.post("/api/v1/users", json={"email": email, "full_name": "Ada"})
    assert created.status_code == 201, created.text

    users = await client.get("/api/v1/users")

    assert [user["email"] for user in users.json()["items"]] == [email]
"""

# For each design, what stands in a `conftest.py` beside the tests.
CONFTESTS = {
    OURS: "",
    COMMITTED: """\
import pytest


@pytest.fixture
def client(committing_client):
    return committing_client
""",
    CREATED: """\
import pytest

from app.core.db.base import Base
from tests.conftest import _client


@pytest.fixture(scope="session")
def database_url(make_database):
    with make_database("created") as url:
        yield url


@pytest.fixture
async def client(application, engine):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with _client(application) as client:
        yield client
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
""",
    TRUNCATED: """\
import pytest
from sqlalchemy import text

from app.core.db.base import Base
from tests.conftest import _client


@pytest.fixture
async def client(application, engine):
    async with _client(application) as client:
        yield client
    async with engine.begin() as connection:
        tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
        await connection.execute(text(f"TRUNCATE {tables}"))
""",
}


@dataclass(frozen=True)
class Cost:
    start: float
    each: float


def measure(quick: bool) -> str:
    count, many = (1, 10) if quick else (3, 200)
    with rendered() as project, devdb.temporary_server() as server:
        test = partial(project.uv_run, "pytest", "--quiet", DATABASE_URL=server)
        folders = {
            design: _write(project, f"design_{number}", conftest)
            for number, (design, conftest) in enumerate(CONFTESTS.items())
        }
        for folder in folders.values():  # compiles it
            test(folder, TESTS="1")
        found = rounds(
            {
                (design, workers): partial(_cost, partial(test, folder, *options), many)
                for design, folder in folders.items()
                for workers, options in WORKERS.items()
            },
            count,
        )
        facts = machine(project)
    rows = [
        [design, *(cell for w in WORKERS for cell in _cells(found[design, w], found[OURS, w]))]
        for design in CONFTESTS
    ]
    each = ("start, s", "each test, ms", "times the first")
    header = ["", *(f"{workers}: {name}" for workers in WORKERS for name in each)]
    introduction = INTRODUCTION.format(many=many, few=FEW, rounds=count)
    return "\n\n".join([introduction, facts, table(header, rows)])


def _cells(costs: list[Cost], ours: list[Cost]) -> list[str]:
    each = [cost.each for cost in costs]
    return [
        f"{median(cost.start for cost in costs):.1f}",
        f"{1000 * median(each):.1f}",
        f"{ratio(each, [cost.each for cost in ours]):.1f}",
    ]


def _write(project: Project, name: str, conftest: str) -> str:
    folder = f"tests/{name}"
    project.write(f"{folder}/conftest.py", conftest)
    project.write(f"{folder}/test_generated.py", TESTS)
    project.write(f"{folder}/__init__.py", "")
    return folder


def _cost(test: Callable[..., object], many: int) -> Cost:
    few_seconds, many_seconds = (seconds(partial(test, TESTS=str(count))) for count in (FEW, many))
    return Cost(few_seconds, (many_seconds - few_seconds) / (many - FEW))
