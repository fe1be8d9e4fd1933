"""Overlap in projects that know nothing of it: other drivers, other settings, their own URLs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from packages.slipway.tests.overlap.project import (
    ADOPTED,
    ASYNC,
    CREATOR,
    IN_TOML,
    INI,
    PYPROJECT,
    SYNC,
    Shop,
    caught,
)
from packages.slipway.tests.processes import environment, one_line

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(server: str, tmp_path: Path) -> Iterator[Shop]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
        try:
            yield Shop(tmp_path, server, server.replace("/postgres?", "/shop?"))
        finally:
            connection.execute("DROP DATABASE shop WITH (FORCE)")


def sync_project(shop: Shop, env: str = SYNC) -> None:
    """With alembic.ini and psycopg, and without greenlet, asyncpg and this library."""
    shop.begin(env)
    url = shop.with_driver("psycopg")
    shop.write("alembic.ini", f"{INI}sqlalchemy.url = {url}\n")
    shop.write("pyproject.toml", PYPROJECT.format(dependencies=["alembic", "psycopg[binary]"]))
    shop.merge()


def add_changes(shop: Shop) -> None:
    shop.add("wider", "ALTER TABLE invoices ADD note2 text")
    shop.add("retyped", "ALTER TABLE products ALTER title TYPE varchar(500)", before="wider")
    shop.add("renamed", "ALTER TABLE invoices RENAME note TO remark", before="retyped")
    check = "ALTER TABLE invoices ADD CHECK (amount < 1000) NOT VALID"
    shop.add("narrower", check, before="renamed")


CAUGHT = {
    ("stale-plan", "retyped"),
    ("old-version-fails", "retyped"),  # the models allow texts of any length
    ("old-version-fails", "renamed"),
    ("narrower-values", "narrower"),
}


@pytest.mark.representative
def test_the_commit_that_adopts_the_library_is_tried_on_a_version_without_it(shop: Shop) -> None:
    sync_project(shop)
    shop.write("migrations/env.py", ADOPTED)
    add_changes(shop)
    content, databases = shop.content(), shop.databases()

    report = shop.report()

    assert caught(report) == CAUGHT
    assert report["untried_tables"] == []
    assert shop.content() == content
    assert shop.databases() == databases


def test_an_async_project_with_its_url_written_down_is_tried(shop: Shop) -> None:
    shop.begin(ASYNC.format(url=shop.with_driver("asyncpg")))
    dependencies = ["alembic", "asyncpg", "greenlet"]
    shop.write("pyproject.toml", PYPROJECT.format(dependencies=dependencies) + IN_TOML)
    shop.merge()
    add_changes(shop)
    content, databases = shop.content(), shop.databases()

    report = shop.report()

    assert caught(report) == CAUGHT
    assert report["untried_tables"] == []
    assert shop.content() == content
    assert shop.databases() == databases


def test_a_creator_that_leads_to_the_projects_own_database_is_refused(shop: Shop) -> None:
    sync_project(shop, CREATOR.format(url=shop.url))
    add_changes(shop)
    content, databases = shop.content(), shop.databases()

    for command in ("overlap", "rehearse"):
        done = shop.slipway(command)

        assert done.returncode == 3
        assert "'shop'" in one_line(done.stderr)
    assert shop.content() == content
    assert shop.databases() == databases


CHECK = """
import sys
from sqlalchemy import create_engine, text

engine = create_engine({url!r})
with engine.begin() as connection:
    connection.execute(text("INSERT INTO invoices VALUES (gen_random_uuid(), 5000)"))
"""
SETTINGS = """
[slipway.overlap]
install =
    uv venv --quiet env
    uv pip install --quiet --python env alembic psycopg[binary]
environment = env
test = python check.py
"""


def test_a_project_says_how_it_is_installed_and_tested(shop: Shop) -> None:
    shop.begin(SYNC)
    url = shop.with_driver("psycopg")
    shop.write("alembic.ini", f"{INI}sqlalchemy.url = {url}\n{SETTINGS}")
    shop.write("check.py", CHECK.format(url=url))
    shop.merge()
    add_changes(shop)
    content = shop.content()

    report = shop.report()

    assert ("old-test-fails", "narrower") in caught(report)
    assert shop.content() == content


WITHOUT_EXTRA = """
import sys

sys.modules.update(asyncpg=None, greenlet=None)
from slipway.__main__ import main

sys.exit(main(sys.argv[1:]))
"""


def test_without_its_extra_it_says_what_to_install(shop: Shop) -> None:
    sync_project(shop)
    add_changes(shop)

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, "overlap", "--server", shop.server],
        cwd=shop.folder,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "alembic-slipway[rehearse]" in one_line(done.stderr)
