"""The shared catalogue queries, against a real catalogue."""

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from packages.slipway.tests.history import History
from packages.slipway.tests.processes import until
from slipway.queries import USER_RELATIONS, InvalidIndex, invalid_indexes

NAMES = f"""
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND {USER_RELATIONS} ORDER BY 1
"""  # noqa: S608  a constant


def names(history: History) -> list[object]:
    return [name for (name,) in history.sql(NAMES)]


@pytest.mark.parametrize("table", ["alembic_version", "my_version", "ops.versions"])
def test_a_version_table_of_any_name_is_bookkeeping(history: History, table: str) -> None:
    history.sql("CREATE SCHEMA ops")
    history.sql(f"CREATE TABLE {table} (version_num varchar(32) PRIMARY KEY)")
    history.sql("CREATE TABLE backfill_progress (name text)")

    assert names(history) == []


def test_tables_of_users_are_found_and_those_of_others_are_not(history: History) -> None:
    history.sql("CREATE SCHEMA shop")
    history.sql("CREATE TABLE shop.users (id int) PARTITION BY RANGE (id)")
    history.sql("CREATE TABLE audits (version_num int, at date)")
    history.sql("CREATE TABLE version_num (id int)")
    history.sql("CREATE EXTENSION pg_stat_statements")
    history.sql("CREATE TABLE owned (id int)")
    history.sql("ALTER EXTENSION pg_stat_statements ADD TABLE owned")

    assert names(history) == ["audits", "users", "version_num"]


def invalid(history: History) -> list[InvalidIndex]:
    url = history.url.replace("postgresql:", "postgresql+psycopg:")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return invalid_indexes(connection)


def test_an_index_that_a_failed_build_left_is_found(history: History) -> None:
    history.sql('CREATE TABLE "Items" AS SELECT 1 AS id FROM generate_series(1, 2)')
    with pytest.raises(psycopg.errors.UniqueViolation):
        history.sql('CREATE UNIQUE INDEX CONCURRENTLY "Ix" ON "Items" (id)')

    assert invalid(history) == [InvalidIndex(name="Ix", index='"Ix"', table='"Items"')]


def test_an_index_that_is_being_built_is_not_left_over(history: History) -> None:
    history.sql("CREATE TABLE items (id int)")
    building = psycopg.connect(history.url, autocommit=True)

    with history.transaction("INSERT INTO items VALUES (1)"):
        # It waits for the transaction, with an index that is not valid yet.
        building.pgconn.send_query(b"CREATE INDEX CONCURRENTLY ix ON items (id)")
        until(lambda: history.sql("SELECT 1 FROM pg_index WHERE NOT indisvalid"))
        assert invalid(history) == []
    building.close()
