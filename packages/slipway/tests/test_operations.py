"""The helpers for migrations, with rows in the tables and others at work on them."""

import re

import pytest

from packages.slipway.tests.history import History
from packages.slipway.tests.processes import until

INDEX = 'create_index_concurrently("ix_items_id", "items", ["id"], unique=True)'
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_items_id')"


@pytest.fixture
def items(history: History) -> History:
    history.add('op.execute("CREATE TABLE items (id int)")')
    history.upgrade()
    history.sql("INSERT INTO items SELECT generate_series(1, 1000)")
    return history


def test_an_index_waits_for_writers_longer_than_the_lock_timeout(items: History) -> None:
    items.add(INDEX, 'drop_index_concurrently("ix_items_id", "items")')

    with items.transaction("INSERT INTO items VALUES (1001)"):
        process = items.start(LOCK_TIMEOUT="0.1", STATEMENT_TIMEOUT="2")
        until(lambda: items.sql(f"{VALID} AND NOT indisvalid"))
        items.sql("SELECT pg_sleep(2.5)")
        assert process.poll() is None
        items.sql("INSERT INTO items VALUES (1002)")  # nobody else waits
    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 0, printed
    assert items.sql(VALID) == [(True,)]


@pytest.mark.representative
def test_an_invalid_leftover_is_built_anew(items: History) -> None:
    items.sql("INSERT INTO items VALUES (1)")
    items.add(INDEX)
    code, printed = items.alembic()
    assert code == 1
    assert re.search("duplicate|unique", printed.splitlines()[-1])
    assert items.sql(VALID) == [(False,)]

    items.sql("DELETE FROM items WHERE ctid IN (SELECT ctid FROM items WHERE id = 1 LIMIT 1)")
    items.upgrade()

    assert items.sql(VALID) == [(True,)]


@pytest.mark.slow
def test_an_index_can_be_dropped_and_built_again(items: History) -> None:
    items.add(INDEX, 'drop_index_concurrently("ix_items_id", "items")')
    items.upgrade()

    assert items.alembic("downgrade", "-1")[0] == 0
    assert items.sql(VALID) == []
    items.upgrade()
    assert items.sql(VALID) == [(True,)]


def test_validation_lets_writers_go_on_and_takes_its_time(items: History) -> None:
    items.add('op.execute("ALTER TABLE items ADD CONSTRAINT positive CHECK (id > 0) NOT VALID")')
    items.add('validate_constraint("positive", "items")')

    with items.transaction("SELECT 1"):
        items.upgrade(STATEMENT_TIMEOUT="5")

    assert items.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'positive'") == [
        (True,)
    ]


def test_timeouts_are_those_of_the_connection_again_afterwards(items: History) -> None:
    items.add(INDEX)
    items.add("op.execute(\"CREATE TABLE shown AS SELECT current_setting('lock_timeout')\")")

    items.upgrade(LOCK_TIMEOUT="0.7")

    assert items.sql("SELECT * FROM shown") == [("700ms",)]


def test_the_sql_of_an_index_can_be_printed(items: History) -> None:
    items.add(INDEX)

    # The runner has no part in it: nothing is connected to.
    (items.folder / "migrations/env.py").write_text(
        "from alembic import context\n"
        "context.configure(url='postgresql+asyncpg://', transaction_per_migration=True)\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    )
    code, printed = items.alembic("upgrade", "0001:0002", "--sql")

    assert code == 0, printed
    assert printed.index("DROP INDEX CONCURRENTLY IF EXISTS") < printed.index("CREATE UNIQUE INDEX")


BATCHES = 'update_in_batches("items", "name = \'n\' || id", where="name IS NULL", batch_size=100)'


@pytest.fixture
def unnamed(items: History) -> History:
    items.sql("ALTER TABLE items ADD name text, ADD PRIMARY KEY (id)")
    return items


def nameless(history: History) -> object:
    [(count,)] = history.sql("SELECT count(*) FROM items WHERE name IS NULL")
    return count


def test_batches_update_every_row_once(unnamed: History) -> None:
    unnamed.sql("CREATE TABLE updates (id int)")
    unnamed.sql(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO updates VALUES (NEW.id); RETURN NEW; END'"
    )
    unnamed.sql("CREATE TRIGGER note AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION note()")
    unnamed.add(BATCHES)

    unnamed.upgrade()

    assert nameless(unnamed) == 0
    assert unnamed.sql("SELECT count(*), count(DISTINCT id) FROM updates") == [(1000, 1000)]


def test_batches_let_writers_go_on(unnamed: History) -> None:
    unnamed.add(BATCHES)

    with unnamed.transaction("UPDATE items SET id = id WHERE id = 50"):
        process = unnamed.start(LOCK_TIMEOUT="0.3")
        until(lambda: nameless(unnamed) == 1)  # all but the row that is held
        unnamed.sql("SET lock_timeout = '1s'; UPDATE items SET name = 'own' WHERE id = 51")
    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 0, printed
    assert nameless(unnamed) == 0


@pytest.mark.slow
def test_batches_go_on_after_kill_9(unnamed: History) -> None:
    unnamed.add(BATCHES)
    with unnamed.transaction("UPDATE items SET id = id WHERE id = 1000"):
        process = unnamed.start(LOCK_TIMEOUT="60")
        until(lambda: nameless(unnamed) == 1)
        process.kill()
        process.communicate()
    assert unnamed.at() == ["0001"]

    unnamed.upgrade()

    assert nameless(unnamed) == 0
    assert unnamed.at() == ["0002"]


@pytest.mark.slow
def test_batches_go_along_composite_keys(history: History) -> None:
    history.add('op.execute("CREATE TABLE items (a text, b date, n int, PRIMARY KEY (b, a))")')
    history.upgrade()
    history.sql(
        "INSERT INTO items SELECT 'a' || n % 7, DATE '2026-01-01' + n / 7 FROM "
        "generate_series(1, 700) AS n"
    )
    history.add('update_in_batches("items", "n = 1", where="n IS NULL", batch_size=50)')

    history.upgrade()

    assert history.sql("SELECT count(*) FROM items WHERE n IS NULL") == [(0,)]


@pytest.mark.slow
def test_batches_need_a_primary_key(items: History) -> None:
    items.add('update_in_batches("items", "id = 0", where="id > 0")')

    code, printed = items.alembic()

    assert code != 0
    assert "Traceback" not in printed
    assert "primary key" in printed.splitlines()[-1]
