"""Each rule's own example breaks it, and what its page says to write instead does not."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from packages.slipway.tests.guard.project import GuardProject
from slipway.guard.rules import RULES

BASE = """
CREATE TYPE mood AS ENUM ('sad', 'happy')
CREATE TABLE customers (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, email text, mood mood)
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, note varchar(50), total numeric, \
status varchar(20) NOT NULL DEFAULT 'new', CONSTRAINT ck_orders_status CHECK (status <> ''))
CREATE INDEX ix_orders_status ON orders (status)
CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'new'
CREATE MATERIALIZED VIEW sales AS SELECT sum(total) FROM orders
CREATE TABLE visits (id bigint NOT NULL)
CREATE TABLE bookings (room bigint, during tstzrange)
CREATE TABLE events (id bigint, day date NOT NULL) PARTITION BY RANGE (day)
CREATE TABLE events_2025 (id bigint, day date NOT NULL)
"""
HEAD = """\
import sqlalchemy as sa
from alembic import op
from slipway.operations import *
from sqlalchemy.dialects import postgresql
"""
UPGRADE = "def upgrade() -> None:\n"
DOWNGRADE = '\n\ndef downgrade() -> None:\n    op.execute("SELECT 1")\n'
# What these are about is not in one revision: test_history has them.
NOT_IN_A_REVISION = {"edited-history", "multiple-heads", "old-import"}
# Some advice is for a newer PostgreSQL.
POSTGRESQL = {"add-stored-column": 18}
IN_A_REVISION = [name for name in RULES if name not in NOT_IN_A_REVISION]


@pytest.fixture
def project(tmp_path: Path, rule: str) -> GuardProject:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text("")
    project = GuardProject(tmp_path)
    project.configure(f"[tool.slipway]\npostgresql = {POSTGRESQL.get(rule, 15)}\n")
    project.add("base", "\n".join(f"op.execute({line!r})" for line in BASE.strip().splitlines()))
    return project


def add(project: GuardProject, revision: str, code: str, before: str) -> Path:
    """Write a revision of this code: its `upgrade()`, that function's body, or less."""
    lines = code.splitlines()
    if "def upgrade" not in code and "revision =" not in code and "def downgrade" not in code:
        at_module = [line for line in lines if line.startswith(("phase =", "from ", "import "))]
        body = "\n".join(line for line in lines if line not in at_module)
        code = "\n".join([*at_module, UPGRADE + textwrap.indent(body or "pass", "    ")])
    names = f'down_revision = "{before}"\n'
    if "revision =" not in code:
        names += f'revision = "{revision}"\n'
    if "def upgrade" not in code:
        code = f'{code}\n\n\n{UPGRADE}    op.execute("SELECT 1")\n'
    if "def downgrade" not in code:
        code += DOWNGRADE
    return project.write(revision, f"{HEAD}\n{names}\n{code}\n")


def found(project: GuardProject, rule: str) -> dict[str, Any]:
    file = add(project, "example", RULES[rule].example, "base")
    findings = project.guard(file).report["findings"]
    return next(finding for finding in findings if finding["rule"] == rule)


@pytest.mark.parametrize("rule", IN_A_REVISION)
def test_the_example_of_a_rule_breaks_it(project: GuardProject, rule: str) -> None:
    finding = found(project, rule)

    assert finding["message"] == RULES[rule].summary.format(**RULES[rule].fields)


@pytest.mark.parametrize("rule", IN_A_REVISION)
def test_what_to_write_instead_breaks_no_rule(project: GuardProject, rule: str) -> None:
    instead = found(project, rule)["instead"]
    (project.versions / "example.py").unlink()
    before = "base"
    for number, code in enumerate(revisions(instead)):
        add(project, f"instead_{number}", code, before)
        before = f"instead_{number}"

    findings = project.guard("--since", "base", "--fail-on", "warning")
    assert findings.code == 0, findings.report["findings"]


def revisions(instead: str) -> list[str]:
    """The code of each revision that the advice has, with something in place of its dots."""
    instead = re.sub(r"(sa\.Column\([^,]+), \.\.\.", r"\1, sa.Text()", instead)
    instead = instead.replace("[...]", '["id"]')
    parts = re.split(r"^# .*\brevision\b.*$", instead, flags=re.MULTILINE)
    code = ["\n".join(line for line in part.splitlines() if line[:1] != "#") for part in parts]
    return [part.strip() for part in code if part.strip()]
