"""A connection in a transaction that is rolled back, and what autogenerate finds on it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

import slipway.autogenerate  # noqa: F401  registers its comparisons

DRIVERS = ("psycopg", "psycopg2")


@pytest.fixture(scope="session", params=DRIVERS)
def engine(server: str, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    engine = sa.create_engine(server.replace("postgresql://", f"postgresql+{request.param}://"))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        yield connection


Compare = Callable[..., list[ops.MigrateOperation]]


@pytest.fixture
def compare(connection: sa.Connection) -> Compare:
    """What autogenerate finds between the database and these models."""

    def find(*metadata: sa.MetaData, **options: Any) -> list[ops.MigrateOperation]:
        models: sa.MetaData | Sequence[sa.MetaData]
        models = metadata[0] if len(metadata) == 1 else metadata
        options = {
            "target_metadata": models,
            "compare_server_default": True,
            "include_schemas": True,
            **options,
        }
        context = MigrationContext.configure(connection, opts=options)
        upgrade = produce_migrations(context, models).upgrade_ops  # type: ignore[arg-type]
        assert upgrade is not None
        return upgrade.ops

    return find
