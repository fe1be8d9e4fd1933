"""Which Alembic command runs env.py, and what the runner does not know."""

import re
from pathlib import Path

import alembic.command

from packages.slipway.tests.history import History
from packages.slipway.tests.runner.test_run import TABLE
from slipway.runner.commands import ALEMBIC

# Runs env.py as a later version of Alembic may: with work of a name that is new.
UNKNOWN = """
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from slipway.env import MigrationError

config = Config(toml_file="pyproject.toml")
script = ScriptDirectory.from_config(config)

def rewrite_all(heads, context):
    return []

try:
    with EnvironmentContext(config, script, fn=rewrite_all):
        script.run_env()
except MigrationError as error:
    print("refused", error)
"""


def test_each_command_of_this_alembic_is_known() -> None:
    source = Path(alembic.command.__file__).read_text()
    names = set(re.findall(r"\bfn=(\w+)", source))

    assert names
    assert names <= ALEMBIC.keys()


def test_a_command_that_is_not_known_is_refused(history: History) -> None:
    history.add(TABLE)
    (history.folder / "program.py").write_text(UNKNOWN)

    process = history.program("program.py")

    printed, _ = process.communicate(timeout=60)
    assert re.search(r"(?m)^refused .*rewrite_all", printed), printed
    assert history.sql("SELECT to_regclass('alembic_version')") == [(None,)]


def test_a_revision_without_a_comparison_needs_no_head(history: History) -> None:
    """`revision_environment` lets env.py run for it, but nothing is compared."""
    history.add(TABLE)
    project = history.folder / "pyproject.toml"
    project.write_text(f"{project.read_text()}revision_environment = true\n")
    (history.folder / "migrations/script.py.mako").write_text(
        "revision, down_revision = ${repr(up_revision)}, ${repr(down_revision)}\n"
    )

    code, printed = history.alembic("revision", "-m", "by hand")

    assert code == 0, printed
    code, printed = history.alembic("revision", "--autogenerate", "-m", "compared")
    assert code == 1
    assert "alembic upgrade head" in printed
