"""The function, on connections of this process: keys of all types, limits, savepoints."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, make_url, pool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from packages.slipway.tests.history import History
from slipway.backfill import Backfill, Limits, run
from slipway.backfill.walk import BackfillProgress


def with_connection(
    history: History, work: Callable[[Connection], Any], driver: str = "asyncpg"
) -> Any:
    url = history.url.replace("postgresql://", f"postgresql+{driver}://")
    if not make_url(url).get_dialect().is_async:
        with create_engine(url, poolclass=pool.NullPool).connect() as connection:
            return work(connection)

    async def main() -> Any:
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.connect() as connection:
            return await connection.run_sync(work)

    return asyncio.run(main())


KEYS = {
    "bigint": ("id bigint PRIMARY KEY", "n * 10000000000"),
    "uuid": ("id uuid PRIMARY KEY", "gen_random_uuid()"),
    "text with a collation": ('id text COLLATE "C" PRIMARY KEY', "chr(64 + n % 60) || n"),
    "text with quotes": ("id varchar(40) PRIMARY KEY", "'it''s \"' || n || '\\ :x'"),
    "numeric": ("id numeric PRIMARY KEY", "n / 7.0"),
    "double": ("id float8 PRIMARY KEY", "sqrt(n)"),
    "date": ("id date PRIMARY KEY", "DATE '2026-01-01' + n"),
    "timestamptz": (
        "id timestamptz(3) PRIMARY KEY",
        "TIMESTAMPTZ '2026-03-29' + n * '1 h'::interval",
    ),
    "interval": ("id interval PRIMARY KEY", "n * '13 h'::interval"),
    "bytea": ("id bytea PRIMARY KEY", "sha256(n::text::bytea)"),
    "inet": ("id inet PRIMARY KEY", "'10.0.0.0'::inet + n"),
    "enum": (
        'id "a kind", n int, PRIMARY KEY (id, n)',
        "(ARRAY['x', 'B', 'it''s'])[1 + n % 3]::\"a kind\", n",
    ),
    "domain": ("id positive PRIMARY KEY", "n"),
    "array": ("id int[] PRIMARY KEY", "ARRAY[n % 7, n]"),
    "boolean and more": ("a boolean, b char(5), PRIMARY KEY (b, a)", "n % 2 = 0, (n / 2)::text"),
    "columns in another order": (
        '"Größe" text, b date, PRIMARY KEY (b, "Größe")',
        "'a' || n % 7, DATE '2026-01-01' + n / 7",
    ),
    "an index that includes more": ("id int, other text, PRIMARY KEY (id) INCLUDE (other)", "n"),
    "partitions": ("id int PRIMARY KEY", "n"),
}


@pytest.mark.parametrize(
    "driver",
    ["asyncpg", *(pytest.param(name, marks=pytest.mark.slow) for name in ("psycopg", "psycopg2"))],
)
@pytest.mark.parametrize("kind", KEYS)
def test_rows_with_keys_of_any_type_are_changed_once(
    history: History, kind: str, driver: str
) -> None:
    columns, values = KEYS[kind]
    partitioned = kind == "partitions"
    history.sql("CREATE TYPE \"a kind\" AS ENUM ('x', 'B', 'it''s')")
    history.sql("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    partitions = " PARTITION BY RANGE (id)" if partitioned else ""
    history.sql(f'CREATE TABLE "my items" ({columns}, done int){partitions}')
    if partitioned:
        history.sql('CREATE TABLE p1 PARTITION OF "my items" FOR VALUES FROM (1) TO (100)')
        history.sql('CREATE TABLE p2 PARTITION OF "my items" DEFAULT')
    rows = f"SELECT {values} FROM generate_series(1, 300) AS n"  # noqa: S608
    history.sql(f'INSERT INTO "my items" {rows}')
    reports: list[BackfillProgress] = []

    backfill = Backfill('"my items"', "done = coalesce(done, 0) + 1", where="done IS NULL")
    changed = with_connection(
        history,
        partial(
            run, backfill=backfill, name=kind, limits=Limits(batch_size=7), report=reports.append
        ),
        driver,
    )

    assert changed == 300
    assert history.sql('SELECT DISTINCT done FROM "my items"') == [(1,)]
    # Each batch goes on where the one before it ended.
    first = [report for report in reports if not report.again]
    assert [report.seen for report in first] == [*range(7, 300, 7), 300]
    assert [report.changed for report in first] == [report.seen for report in first]


@pytest.fixture
def items(history: History) -> History:
    history.sql("CREATE TABLE items (id int PRIMARY KEY, name text, at timestamptz)")
    history.sql("INSERT INTO items SELECT generate_series(1, 100)")
    return history


FILL = Backfill("items", "name = 'n:' || id", where="name IS NULL")


def test_in_a_transaction_of_the_caller_nothing_is_left_after_a_rollback(items: History) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO items VALUES (101)"))
        assert run(connection, FILL) == 101
        assert connection.scalar(text("SELECT name FROM items WHERE id = 101")) == "n:101"
        connection.rollback()

    with_connection(items, work)

    assert items.sql("SELECT count(*), count(name) FROM items") == [(100, 0)]
    assert items.sql("SELECT to_regclass('backfill_progress')") == [(None,)]


def test_rows_that_come_while_it_runs_are_changed_too(items: History) -> None:
    def come(report: BackfillProgress) -> None:
        if not report.again and report.seen == 50:
            items.sql("INSERT INTO items VALUES (0), (-7), (1000)")

    work = partial(run, backfill=FILL, limits=Limits(batch_size=10), report=come)

    assert with_connection(items, work) == 103
    assert items.sql("SELECT count(*) FROM items WHERE name IS NULL") == [(0,)]


def test_no_second_has_more_rows_than_it_may_have(items: History) -> None:
    backfill = Backfill("items", "at = clock_timestamp()", where="at IS NULL")

    with_connection(items, partial(run, backfill=backfill, limits=Limits(max_rows_per_second=50)))

    [(most,)] = items.sql(
        "SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN"
        " CURRENT ROW AND INTERVAL '0.99 s' FOLLOWING) AS n FROM items) AS seconds"
    )
    assert int(str(most)) <= 50


def test_batches_that_take_too_long_become_smaller_and_grow_again(items: History) -> None:
    items.sql("INSERT INTO items SELECT generate_series(101, 400)")
    # The first rows are slow, as all are under load.
    slow = Backfill(
        "items",
        "name = CASE WHEN id <= 100 THEN pg_sleep(0.01)::text ELSE '' END",
        where="name IS NULL",
    )
    reports: list[BackfillProgress] = []

    limits = Limits(batch_size=50, batch_time=0.1)
    with_connection(items, partial(run, backfill=slow, limits=limits, report=reports.append))

    seen = [report.seen for report in reports if not report.again]
    sizes = [after - before for before, after in zip([0, *seen], seen, strict=False)]
    assert sizes[0] == 50
    assert min(sizes[:6]) < 25
    assert max(sizes[6:]) > 2 * min(sizes[:6])


def test_a_trigger_that_keeps_rows_as_they_are_is_reported(items: History) -> None:
    items.sql("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    items.sql(
        "CREATE TRIGGER keep BEFORE UPDATE ON items FOR EACH ROW WHEN (OLD.id = 7)"
        " EXECUTE FUNCTION keep()"
    )

    with pytest.raises(Exception, match="trigger"):
        with_connection(items, partial(run, backfill=FILL))


def test_rows_that_a_policy_hides_are_not_passed_over_in_silence(items: History) -> None:
    items.sql("ALTER TABLE items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    items.sql("CREATE POLICY one ON items USING (id = 1)")
    items.sql("CREATE ROLE tenant_owner")
    items.sql("ALTER TABLE items OWNER TO tenant_owner")

    def work(connection: Connection) -> None:
        connection.execute(text("SET ROLE tenant_owner"))
        connection.commit()
        with pytest.raises(DBAPIError, match="row-level security"):
            run(connection, FILL)

    try:
        with_connection(items, work)
        assert items.sql("SELECT count(name) FROM items") == [(0,)]
    finally:
        items.sql("REASSIGN OWNED BY tenant_owner TO CURRENT_USER")
        items.sql("DROP ROLE tenant_owner")
