"""Small projects in git, with a database of their own that overlap must leave alone."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from packages.slipway.tests.processes import environment, git

MODELS = """
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Billing(DeclarativeBase):
    pass


class Kind(Enum):
    SMALL = "small"
    LARGE = "large"


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    kind: Mapped[Kind] = mapped_column(sa.Enum(Kind, name="kind"))
    details: Mapped[dict] = mapped_column(sa.JSON)
    touched: Mapped[datetime] = mapped_column(
        sa.DateTime(timezone=True), onupdate=lambda: datetime.now(timezone.utc)
    )


class Invoice(Billing):
    __tablename__ = "invoices"

    id: Mapped[UUID] = mapped_column(default=uuid4, primary_key=True)
    amount: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    note: Mapped[str | None] = mapped_column(sa.String(50))
"""
BASE = """
CREATE TYPE kind AS ENUM ('SMALL', 'LARGE')
CREATE TABLE products (id serial PRIMARY KEY, title text NOT NULL, kind kind NOT NULL, \
details json NOT NULL, touched timestamptz NOT NULL)
CREATE TABLE invoices (id uuid PRIMARY KEY, amount numeric(10, 2) NOT NULL, note varchar(50))
INSERT INTO products (title, kind, details, touched) SELECT 'one', 'SMALL', '{}', now()
"""
REVISION = '''
"""{name}"""

from alembic import op

revision = "{name}"
down_revision = {before!r}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
    pass
'''
# As `alembic init` writes it, but for the models.
SYNC = """
from alembic import context
from sqlalchemy import engine_from_config, pool

from shop.models import Base, Billing

config = context.config
connectable = engine_from_config(
    config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
)
with connectable.connect() as connection:
    context.configure(connection=connection, target_metadata=[Base.metadata, Billing.metadata])
    with context.begin_transaction():
        context.run_migrations()
"""
ASYNC = """
import asyncio

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from shop.models import Base, Billing


def migrate(connection):
    context.configure(connection=connection, target_metadata=[Base.metadata, Billing.metadata])
    with context.begin_transaction():
        context.run_migrations()


async def main():
    engine = create_async_engine({url!r}, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
"""
ADOPTED = """
from slipway.env import configure_logging, run

from shop.models import Base, Billing

configure_logging()
run([Base.metadata, Billing.metadata])
"""
CREATOR = """
import psycopg
from alembic import context
from sqlalchemy import create_engine

import shop.models

url = {url!r}
engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=shop.models.Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
INI = "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = .\n"
PYPROJECT = """
[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
dependencies = {dependencies}

[tool.uv]
package = false
"""
IN_TOML = """
[tool.alembic]
script_location = "%(here)s/migrations"
prepend_sys_path = ["."]
"""


@dataclass(frozen=True)
class Shop:
    """A project whose branch `main` is deployed; `url` is its own database, at the base."""

    folder: Path
    server: str
    url: str

    def with_driver(self, driver: str) -> str:
        return self.url.replace("postgresql://", f"postgresql+{driver}://")

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def add(self, name: str, *statements: str, before: str | None = "start") -> None:
        body = "\n".join(f"    op.execute({statement!r})" for statement in statements)
        revision = REVISION.format(name=name, before=before, upgrade=body)
        self.write(f"migrations/versions/{name}.py", revision)

    def begin(self, env: str) -> None:
        """Write what both projects have, and apply it to the project's own database."""
        self.write("shop/__init__.py", "")
        self.write("shop/models.py", MODELS)
        self.write("migrations/env.py", env)
        self.write(".gitignore", "__pycache__\n.venv\nenv\nuv.lock\n")
        statements = BASE.strip().splitlines()
        self.add("start", *statements, before=None)
        with psycopg.connect(self.url) as connection:
            for statement in statements:
                connection.execute(statement.encode())
            connection.execute("CREATE TABLE alembic_version (version_num varchar(32))")
            connection.execute("INSERT INTO alembic_version VALUES ('start')")

    def merge(self) -> None:
        """Let what is written be deployed."""
        git("init", "--quiet", "--initial-branch", "main", cwd=self.folder)
        git("add", "--all", cwd=self.folder)
        git("commit", "--quiet", "--message", "deployed", cwd=self.folder)

    def slipway(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slipway", command, "--server", self.server, *options],
            cwd=self.folder,
            env=environment({}),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def report(self) -> dict[str, Any]:
        done = self.slipway("overlap", "--format", "json")
        assert done.returncode in (0, 1), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def content(self) -> list[Any]:
        """The tables and rows of the project's own database."""
        with psycopg.connect(self.url) as connection:
            columns = connection.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'public' ORDER BY 1, 2"
            ).fetchall()
            rows = connection.execute(
                "SELECT *, (SELECT version_num FROM alembic_version) FROM products"
            )
            return [columns, rows.fetchall()]

    def databases(self) -> set[str]:
        with psycopg.connect(self.server) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
        return {str(name) for (name,) in rows}


def caught(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(finding["rule"], finding["revision"]) for finding in report["findings"]}
