"""What a rehearsal looks for: facts that PostgreSQL and the service at work have shown."""

from typing import Any

from slipway.report import Rule

RULES: dict[str, Rule] = {}


def _declare(**parts: Any) -> Rule:
    rule = Rule(**parts)
    RULES[rule.name] = rule
    return rule


# ---- Statements

REWRITTEN = _declare(
    name="rewritten-under-lock",
    severity="error",
    summary="PostgreSQL rewrote {table} under {mode}, which blocks {blocked}",
    why=(
        "Every row is written again, with all indexes. The larger the table, the longer others "
        "wait."
    ),
    instead="""\
# a new column beside the old one, written by the application or a trigger, then
# a revision of its own:
from slipway.operations import update_in_batches
update_in_batches("{table}", "new = old", where="new IS NULL")""",
    example='op.alter_column("orders", "amount", type_=sa.Numeric())',
    fields={"table": "orders", "mode": "ACCESS EXCLUSIVE", "blocked": "reads and writes"},
    reference="sql-altertable.html#SQL-ALTERTABLE-NOTES",
)
SCANNED = _declare(
    name="scanned-under-lock",
    severity="error",
    summary=(
        "PostgreSQL read {rows} of {scanned} while {table} was locked {mode}, which blocks "
        "{blocked}"
    ),
    why="The larger the table, the longer others wait.",
    instead="""\
# a constraint: NOT VALID in this revision, in the next
from slipway.operations import validate_constraint
validate_constraint("name", "{scanned}")
# an index, alone in its revision:
from slipway.operations import create_index_concurrently
# data: in a revision of its own, without the lock of another statement
from slipway.operations import update_in_batches""",
    example='op.create_check_constraint("ck_orders_amount", "orders", "amount > 0")',
    fields={
        "rows": "50000 rows",
        "scanned": "orders",
        "table": "orders",
        "mode": "ACCESS EXCLUSIVE",
        "blocked": "reads and writes",
    },
    reference="explicit-locking.html#LOCKING-TABLES",
)
CHAIN = _declare(
    name="locked-in-chain",
    severity="warning",
    summary="{table} was locked {mode} while the transaction still held {held}",
    why=(
        "While it queues for the second table, all queries of the first wait. Two such "
        "transactions in opposite order are a deadlock."
    ),
    instead="# one revision for {held}, another for {table}",
    example="""\
op.add_column("orders", sa.Column("channel", sa.Text()))
op.add_column("customers", sa.Column("channel", sa.Text()))
""",
    fields={"table": "customers", "mode": "ACCESS EXCLUSIVE", "held": "orders"},
    reference="explicit-locking.html#LOCKING-DEADLOCKS",
)

# ---- What is left behind

INVALID_INDEX = _declare(
    name="invalid-index",
    severity="error",
    summary="index {name} of {table} is INVALID",
    why=(
        "A concurrent build that fails leaves it behind: every write maintains it, no query "
        "uses it, and CREATE INDEX IF NOT EXISTS accepts it as the one that is wanted."
    ),
    instead="""\
# a revision of its own; a leftover is dropped first
from slipway.operations import create_index_concurrently
create_index_concurrently("{name}", "{table}", [...])""",
    example="""\
# the rows of orders have the same code twice
create_index_concurrently("ix_orders_code", "orders", ["code"], unique=True)
""",
    fields={"name": "ix_orders_code", "table": "orders"},
    reference="sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
)
NOT_VALIDATED = _declare(
    name="constraint-not-validated",
    severity="info",
    summary="constraint {name} of {table} is NOT VALID, and no later revision validates it",
    why=(
        "New rows are checked, the old ones never were: queries cannot rely on it, and a dump "
        "of the database may not be restorable with it."
    ),
    instead="""\
# the next revision:
from slipway.operations import validate_constraint
validate_constraint("{name}", "{table}")""",
    example="""\
op.create_check_constraint(
    op.f("ck_orders_amount"), "orders", "amount > 0", postgresql_not_valid=True
)
""",
    fields={"name": "ck_orders_amount", "table": "orders"},
    reference="sql-altertable.html#SQL-ALTERTABLE-NOTES",
)
UNINDEXED = _declare(
    name="foreign-key-without-index",
    severity="warning",
    summary="no index begins with the columns of foreign key {name} of {table}",
    why=(
        "Each DELETE in the table that it refers to reads all of {table} to find rows that "
        "refer to the deleted one, and holds its locks meanwhile."
    ),
    instead="""\
# a revision of its own:
from slipway.operations import create_index_concurrently, drop_index_concurrently
create_index_concurrently("ix_{name}", "{table}", [...])""",
    example="""\
op.add_column("orders", sa.Column("shop_id", sa.BigInteger()))
op.create_foreign_key(
    "fk_orders_shop", "orders", "shops", ["shop_id"], ["id"], postgresql_not_valid=True
)
""",
    fields={"name": "fk_orders_shop", "table": "orders"},
    reference="ddl-constraints.html#DDL-CONSTRAINTS-FK",
)

# ---- There and back

UPGRADE_FAILS = _declare(
    name="upgrade-fails",
    severity="error",
    summary="the upgrade fails: {error}",
    why="So does the deployment: it stops here, with what was committed before.",
    instead="# what the message says; a revision before this one fills in what rows lack",
    example="""\
# some rows have NULL there
op.alter_column("orders", "amount", nullable=False)
""",
    fields={"error": 'column "amount" of relation "orders" contains null values'},
    reference="ddl-constraints.html",
)
DOWNGRADE_FAILS = _declare(
    name="downgrade-fails",
    severity="warning",
    summary="the downgrade fails: {error}",
    why="It fails too when a release has to be rolled back in a hurry.",
    instead="""\
def downgrade() -> None:
    ...  # what undoes upgrade(), in the opposite order; or why that cannot be:
    raise NotImplementedError("the data is gone: restore it from a backup")""",
    example="""\
def upgrade() -> None:
    op.drop_column("orders", "note")


def downgrade() -> None:
    op.drop_column("orders", "note")
""",
    fields={"error": 'column "note" of relation "orders" does not exist'},
    reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)
DOWNGRADE_DIFFERS = _declare(
    name="downgrade-differs",
    severity="warning",
    summary="the downgrade leaves another schema than there was before: {difference}",
    why="The next upgrade may then find what it wants to make, or miss what it wants to change.",
    instead="""\
def downgrade() -> None:
    ...  # everything that upgrade() does, in the opposite order""",
    example="""\
def upgrade() -> None:
    op.drop_index("ix_orders_note", "orders")


def downgrade() -> None:
    pass
""",
    fields={"difference": "index ix_orders_note of orders is missing"},
    reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)
UPGRADE_DIFFERS = _declare(
    name="upgrade-differs",
    severity="warning",
    summary="upgraded again after a downgrade, the schema is another one: {difference}",
    why="A database that was downgraded once differs from the others.",
    instead="""\
def downgrade() -> None:
    ...  # everything that upgrade() does, in the opposite order""",
    example="""\
def upgrade() -> None:
    op.execute("CREATE TABLE IF NOT EXISTS notes (id bigint)")
    op.execute("ALTER TABLE notes ADD COLUMN IF NOT EXISTS text text")


def downgrade() -> None:
    op.execute("ALTER TABLE notes RENAME COLUMN text TO body")
""",
    fields={"difference": "column body of notes is new"},
    reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)

# ---- The service at work

FAILED = _declare(
    name="request-failed",
    severity="error",
    summary="{count} of {table} failed: {error}",
    why="What fails here is an error that users see.",
    instead="# what the version that runs still uses goes in a later revision, after its release",
    example='op.drop_column("orders", "note")',
    fields={"count": "120 updates", "table": "orders", "error": 'column "note" does not exist'},
    reference="mvcc-intro.html",
)
STALE_PLAN = _declare(
    name="stale-plan",
    severity="warning",
    summary="{count} of {table} failed once with a plan from before the change",
    why=(
        "asyncpg keeps prepared statements, and PostgreSQL refuses them once when the columns "
        "of their result have changed."
    ),
    instead="# nothing, if clients try again after an error; or a new column beside the old one",
    example='op.alter_column("orders", "note", type_=sa.Text())',
    fields={"count": "8 reads", "table": "orders"},
    reference="sql-prepare.html",
)
STALLED = _declare(
    name="request-stalled",
    severity="error",
    summary="{kind} of {table} waited for {seconds} s, while {holder}",
    why=(
        "Longer than the lock timeout and what the machine itself was busy for, measured by "
        "requests that touch no table."
    ),
    instead="# a revision of its own for what the lock is held for: see the findings there",
    example='op.create_index("ix_orders_note", "orders", ["note"])',
    fields={"kind": "an insert", "table": "orders", "seconds": "4.2", "holder": "CREATE INDEX ran"},
    reference="explicit-locking.html#LOCKING-TABLES",
)
