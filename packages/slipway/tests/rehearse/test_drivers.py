"""Rehearsals of what `alembic init` makes, untouched, with each driver and form of configuration.

The URL in it is that of a database in use, which nothing may touch.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from packages.slipway.tests.processes import environment, one_line, until

USED = """
CREATE TABLE person(id bigint PRIMARY KEY, age int, note text);
INSERT INTO person VALUES (1, 40, 'in use');
CREATE TABLE alembic_version(version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('start');
CREATE TABLE ours(version_num varchar(32) PRIMARY KEY);
INSERT INTO ours VALUES ('start');
"""
REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {parent!r}


def upgrade():
    {upgrade}


def downgrade():
    raise NotImplementedError
"""
START = """op.execute("CREATE TABLE person(id bigint PRIMARY KEY, age int, note text)")
    op.execute("ALTER TABLE person ADD CONSTRAINT adult CHECK (age > 17) NOT VALID")
    op.execute("CREATE TABLE backfill_progress(name text PRIMARY KEY)")"""
CHANGE = """with op.get_context().autocommit_block():
        op.execute("ALTER TABLE person VALIDATE CONSTRAINT adult")
        op.create_index("ix_note", "person", ["note"], postgresql_concurrently=True)
    op.alter_column("person", "age", type_=sa.BigInteger())
    op.get_bind().execute(
        sa.text("UPDATE person SET note = :note WHERE note LIKE 'v%'"), {"note": "100 %"}
    )"""


@dataclass(frozen=True)
class Stock:
    """What `alembic init` makes, with two revisions, and the URL of a database in use."""

    folder: Path
    server: str
    url: str

    def init(self, driver: str, template: str) -> None:
        config = Config(str(self.folder / "alembic.ini"), str(self.folder / "pyproject.toml"))
        command.init(config, str(self.folder / "migrations"), template=template)
        ini = self.folder / "alembic.ini"
        url = self.url.replace("postgresql://", f"postgresql+{driver}://").replace("%", "%%")
        edited, times = re.subn(
            r"(?m)^sqlalchemy\.url = .*$", f"sqlalchemy.url = {url}", ini.read_text()
        )
        assert times == 1
        ini.write_text(edited)
        for revision, parent, upgrade in (("start", None, START), ("change", "start", CHANGE)):
            text = REVISION.format(revision=revision, parent=parent, upgrade=upgrade)
            (self.folder / f"migrations/versions/{revision}.py").write_text(text)

    def write_env(self, text: str) -> None:
        (self.folder / "migrations/env.py").write_text(text)

    def rehearse(self, *options: str, program: str = "") -> subprocess.CompletedProcess[str]:
        python = ["-c", program] if program else ["-m", "slipway"]
        return subprocess.run(
            [
                *(sys.executable, *python, "rehearse", "--server", self.server),
                *("--since", "start", "--rows", "500", *options),
            ],
            cwd=self.folder,
            env=environment({"SHOP_URL": self.url.replace("postgresql:", "postgresql+psycopg:")}),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def report(self) -> dict[str, Any]:
        done = self.rehearse("--format", "json")
        assert done.returncode in (0, 1), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def content(self) -> list[tuple[Any, ...]]:
        """The tables in use, with what was ever written to them, and the rows."""
        with psycopg.connect(self.url) as connection:
            tables = connection.execute(
                "SELECT relname, pg_stat_get_tuples_inserted(oid), pg_stat_get_tuples_updated(oid),"
                " pg_stat_get_tuples_deleted(oid) FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
            ).fetchall()
            rows = connection.execute("SELECT * FROM person, alembic_version, ours").fetchall()
            return tables + rows


@pytest.fixture
def stock(server: str, tmp_path: Path) -> Iterator[Stock]:
    """A project whose database is compared with what it was."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE in_use")
        try:
            stock = Stock(tmp_path, server, server.replace("/postgres?", "/in_use?"))
            with psycopg.connect(stock.url) as used:
                used.execute(USED)
            # The server counts what a session wrote when that has ended.
            written = {(name, 1, 0, 0) for name in ("person", "alembic_version", "ours")}
            until(lambda: written <= {*stock.content()})
            before = stock.content()
            yield stock
            assert stock.content() == before
        finally:
            connection.execute("DROP DATABASE in_use WITH (FORCE)")


SHARED, EXCLUSIVE = {"person": "SHARE UPDATE EXCLUSIVE"}, {"person": "ACCESS EXCLUSIVE"}
# By a word of the statement: its locks, those that it already held, and the rows that it read.
EFFECTS = {
    "VALIDATE": (SHARED, {}, {"person": 500}, True),
    "INDEX": (SHARED, {}, {}, True),
    "TYPE": (EXCLUSIVE, {}, {"person": 1500}, False),
    "UPDATE": ({"person": "ROW EXCLUSIVE"}, EXCLUSIVE, {"person": 500}, False),
}


@pytest.mark.representative
@pytest.mark.slow
@pytest.mark.parametrize(
    ("driver", "template"),
    [
        ("asyncpg", "async"),
        ("asyncpg", "pyproject_async"),
        ("psycopg", "generic"),
        ("psycopg", "pyproject"),
        ("psycopg", "async"),
        ("psycopg2", "generic"),
        ("psycopg2", "pyproject"),
    ],
)
def test_what_alembic_init_makes_is_rehearsed(stock: Stock, driver: str, template: str) -> None:
    stock.init(driver, template)

    report = stock.report()

    assert report["rows"] == {"person": 500}
    found = {
        next(word for word in EFFECTS if word in statement["sql"]): statement
        for statement in report["statements"]
    }
    names = ("locks", "held", "scanned", "autocommit")
    assert {word: tuple(s[name] for name in names) for word, s in found.items()} == EFFECTS
    assert found["TYPE"]["rewritten"] == ["person"]
    assert 'rewriting table "person"' in found["TYPE"]["server"]
    proven = {(finding["rule"], finding["line"]) for finding in report["findings"]}
    assert {("rewritten-under-lock", 13), ("scanned-under-lock", 14)} <= proven
    assert report["unfilled"] == []


@pytest.mark.slow
def test_an_env_of_six_lines_with_a_version_table_and_a_setting_of_its_own(stock: Stock) -> None:
    stock.init("psycopg", "generic")
    stock.write_env(
        "import os\nfrom slipway.env import run\n"
        'run(None, url=os.environ["SHOP_URL"], version_table="ours")\n'
    )

    report = stock.report()

    assert report["lock_timeout"] == 1
    assert report["rows"] == {"person": 500}


@pytest.mark.slow
def test_an_env_that_connects_by_itself_is_refused(stock: Stock) -> None:
    stock.init("psycopg", "generic")
    env = (stock.folder / "migrations/env.py").read_text()
    engine = (
        f'create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect({stock.url!r}))'
    )
    edited = re.sub(r"engine_from_config\(.*?\n    \)", engine, env, flags=re.DOTALL)
    stock.write_env(f"import psycopg\nfrom sqlalchemy import create_engine\n{edited}")

    done = stock.rehearse()

    assert done.returncode == 3
    assert "'in_use'" in one_line(done.stderr)


WITHOUT_THE_EXTRA = """
import sys
sys.modules.update(asyncpg=None, greenlet=None)
from slipway.__main__ import main
sys.exit(main())
"""


def test_without_the_extra_one_sentence_says_what_to_install(stock: Stock) -> None:
    stock.init("psycopg", "generic")

    done = stock.rehearse(program=WITHOUT_THE_EXTRA)

    assert done.returncode == 3
    assert 'pip install "alembic-slipway[rehearse]"' in one_line(done.stderr)
