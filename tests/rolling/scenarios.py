"""Changes of the schema as the guide writes them, release by release.

A release is a part of a recipe in docs/migrations.md, so that what is documented is what is shown.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.project import Project
from tests.rolling.replicas import Release, release
from tests.test_recipes import GUIDE, Block, follow

Make = Callable[[Project], None]


def parts(title: str) -> list[list[Block]]:
    """The blocks of a recipe, by release."""
    section = GUIDE.partition(f"\n### {title}\n")[2]
    section = re.split(r"\n##", section)[0]
    found = re.split(r"\*{0,2}Releases? (?:one|two|three)\b", section)
    blocks = [
        re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", part, re.DOTALL | re.MULTILINE) for part in found
    ]
    return [part for part in blocks if any(language == "console" for language, _, _ in part)]


def part(title: str, number: int = 0) -> Make:
    return lambda project: follow(project, parts(title)[number])


def _write_country(project: Project) -> None:
    """The code that the first release of the recipe speaks of."""
    project.edit(USERS, "User(**body.model_dump())", 'User(**body.model_dump(), country="CH")')
    part("A required column")(project)


def _stop_using_full_name(project: Project) -> None:
    """As in the recipe to drop a column; clients see the name that they know."""
    project.edit(USER, "import String, true", "import Column, String, true")
    project.edit(USER, "mapped_column, validates", "mapped_column")
    text = (project.path / USER).read_text()
    text = re.sub(r"\n    @validates.*?return value\n", "", text, flags=re.DOTALL)
    text = re.sub(r"    full_name: .*\n", "", text)
    (project.path / USER).write_text(text)
    project.edit(
        USER,
        '    __tablename__ = "users"\n',
        '    __tablename__ = "users"\n'
        '    __table_args__ = (Column("full_name", String(200)),)\n'
        '    __mapper_args__ = Base.__mapper_args__ | {"exclude_properties": ["full_name"]}\n',
    )
    project.edit(
        SCHEMA,
        '    full_name: Line = Field(examples=["Ada Lovelace"])\n',
        "    display_name: Line = Field(validation_alias='full_name')\n",
    )
    project.edit(
        SCHEMA,
        "    full_name: Line | MISSING = MISSING\n",
        "    display_name: Line | MISSING = Field(MISSING, validation_alias='full_name')\n",
    )
    project.edit(
        SCHEMA,
        "    full_name: str\n",
        "    full_name: str = Field(validation_alias='display_name')\n",
    )
    project.just("migrate-gen", "full_name of users may be missing")
    project.just("migrate-up")


def _drop_full_name(project: Project) -> None:
    project.edit(USER, "import Column, String, true", "import String, true")
    text = (project.path / USER).read_text()
    (project.path / USER).write_text(re.sub(r"    __(?:table|mapper)_args__.*\n", "", text))
    project.just("migrate-gen", "drop full_name of users")
    project.just("migrate-up")


USER, SCHEMA = "src/app/models/user.py", "src/app/schemas/user.py"
USERS = "src/app/api/v1/users.py"


@dataclass(frozen=True)
class Scenario:
    """`rows` is how many posts there are at first."""

    name: str
    releases: tuple[Make, ...]
    rows: int = 1000


SCENARIOS = [
    Scenario("add a column", (part("A column"),)),
    Scenario("NOT NULL in steps", (_write_country, part("A required column", 1))),
    Scenario(
        "rename by expand and contract",
        (part("Rename", 0), part("Rename", 1), _stop_using_full_name, _drop_full_name),
    ),
    Scenario("index on a million rows", (part("An index"),), rows=1_000_000),
    Scenario("foreign key", (part("A foreign key"),)),
    Scenario("enum value", (part("Enums"),)),
]


def create_database(server: str) -> str:
    """Make an empty database; the answer is its URL."""
    name = f"rolling_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


def write(project: Project, scenario: Scenario, database: str, folder: Path) -> list[Release]:
    """The old version and the releases of a scenario; `database` is that of their developer."""
    developer = Project(project.path, {"DATABASE_URL": database, "ENVIRONMENT": "development"})
    developer.just("migrate-up")
    releases = [release(project, folder / "0")]
    for number, make in enumerate(scenario.releases, 1):
        make(developer)
        releases.append(release(project, folder / f"{number}"))
    return releases


def prepare(old: Release, scenario: Scenario, database: str) -> None:
    """Make an empty database the one of the old version in production, with rows in its tables."""
    old.run("alembic", "upgrade", "head", DATABASE_URL=database)
    with psycopg.connect(database) as connection:
        # Keys are not checked, which would take most of the time.
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
            (scenario.rows,),
        )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
