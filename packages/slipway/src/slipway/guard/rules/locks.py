"""Statements that make reads or writes wait while PostgreSQL scans, builds or queues."""

from collections.abc import Iterator

from slipway.guard.lock_modes import strong_locks
from slipway.guard.rule import Problem, RuleContext, of_statement, problem
from slipway.guard.schema import uses
from slipway.guard.sql.expressions import written
from slipway.guard.sql.model import Constraint, Name


@of_statement(
    name="index-not-concurrent",
    severity="error",
    locks=True,
    summary="CREATE INDEX {index} blocks all writes to {table} until it is built",
    why="A plain CREATE INDEX holds a SHARE lock for the whole build: reads go on, every INSERT, "
    "UPDATE and DELETE waits.",
    instead="""\
# a revision of its own
from slipway.operations import create_index_concurrently, drop_index_concurrently

def upgrade() -> None:
    create_index_concurrently("{index}", "{table}", [{columns}]{unique})

def downgrade() -> None:
    drop_index_concurrently("{index}", "{table}")""",
    example='op.create_index("ix_orders_note", "orders", ["note"])',
    fields={"table": "orders", "columns": '"note"', "index": "ix_orders_note", "unique": ""},
    reference="sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
)
def index_not_concurrent(context: RuleContext) -> Iterator[Problem]:
    statement = context.statement
    # ON ONLY a partitioned table builds nothing.
    if (
        statement.kind == "CREATE INDEX"
        and statement.table
        and not {"CONCURRENTLY", "ONLY"} & statement.flags
    ):
        yield problem(
            statement.table,
            index=context.target.name,
            columns=", ".join(f'"{key}"' for key in statement.keys),
            unique=", unique=True" if "UNIQUE" in statement.flags else "",
        )


@of_statement(
    name="drop-index-not-concurrent",
    severity="warning",
    locks=True,
    summary="DROP INDEX {index} locks its table, and queues behind all queries that read it",
    why="The lock is ACCESS EXCLUSIVE on the table. It is short, but while it waits for the "
    "longest running query, all others wait behind it.",
    instead="""\
# a revision of its own
from slipway.operations import drop_index_concurrently

def upgrade() -> None:
    drop_index_concurrently("{index}", "{table}")""",
    example='op.drop_index("ix_orders_status", "orders")',
    fields={"table": "orders", "index": "ix_orders_status"},
    reference="sql-dropindex.html",
)
def drop_index_not_concurrent(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind == "DROP INDEX" and "CONCURRENTLY" not in context.statement.flags:
        for name in context.statement.targets:
            known = context.before.indexes.get(name)
            if not known or known.made.revision != context.now.revision:
                yield problem(known.table if known else None, index=str(name))


@of_statement(
    name="concurrently-in-transaction",
    severity="error",
    summary="{kind} CONCURRENTLY cannot run in the migration's transaction",
    why="PostgreSQL refuses it, and the deployment stops there.",
    instead="""\
from slipway.operations import create_index_concurrently, drop_index_concurrently
# they open an autocommit block; for anything else:
with op.get_context().autocommit_block():
    ...""",
    example='op.create_index("ix_orders_note", "orders", ["note"], postgresql_concurrently=True)',
    fields={"kind": "CREATE INDEX"},
    reference="sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
)
def concurrently_in_transaction(context: RuleContext) -> Iterator[Problem]:
    kinds = ("CREATE INDEX", "DROP INDEX", "REINDEX", "ALTER TABLE")
    concurrent = "CONCURRENTLY" in context.statement.flags
    if not context.autocommit and concurrent and context.statement.kind in kinds:
        yield problem(kind=context.statement.kind)


@of_statement(
    name="reindex-not-concurrent",
    severity="error",
    locks=True,
    summary="REINDEX of {table} blocks writes, and reads that would use the index",
    why="It holds SHARE on the table and ACCESS EXCLUSIVE on each index while it is built.",
    instead="""\
with op.get_context().autocommit_block():
    op.execute("REINDEX TABLE CONCURRENTLY {table}")""",
    example='op.execute("REINDEX TABLE orders")',
    fields={"table": "orders"},
    reference="sql-reindex.html#SQL-REINDEX-CONCURRENTLY",
)
def reindex_not_concurrent(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind == "REINDEX" and "CONCURRENTLY" not in context.statement.flags:
        index = context.before.indexes.get(context.target)
        table = index.table if index and "INDEX" in context.statement.flags else context.target
        yield problem(table)


# ---- Constraints


def _validated(context: RuleContext, *kinds: str) -> Iterator[Constraint]:
    """The constraints that this statement adds to an existing table and checks at once."""
    for action in context.statement.of_kind("ADD CONSTRAINT"):
        constraint = action.constraint
        if constraint and constraint.kind in kinds and constraint.validates:
            yield constraint


def _with_column(context: RuleContext, kind: str) -> Iterator[tuple[str, Constraint]]:
    """The constraints of this kind that come with a new column."""
    for action in context.statement.of_kind("ADD COLUMN"):
        for constraint in action.column.constraints if action.column else ():
            if constraint.kind == kind:
                yield action.name, constraint


def _constraint_problem(context: RuleContext, constraint: Constraint) -> Problem:
    columns = ", ".join(f'"{column}"' for column in constraint.columns)
    return problem(
        context.target,
        name=constraint.name or f"{context.target.name}_{'_'.join(constraint.columns)}",
        columns=columns,
        plain_columns=columns.replace('"', ""),
        parent=str(constraint.references or "parent"),
        expression=repr(written(constraint.expression)),
    )


@of_statement(
    name="foreign-key-scan",
    severity="error",
    locks=True,
    summary="foreign key {name} is checked under a lock that blocks writes to {table} and {parent}",
    why="SHARE ROW EXCLUSIVE is held on both tables for as long as PostgreSQL reads them.",
    instead="""\
# this revision: new rows are checked from now on
op.create_foreign_key(
    "{name}", "{table}", "{parent}", [{columns}], ["id"], postgresql_not_valid=True
)
# the next revision: old rows are checked while reads and writes go on
from slipway.operations import validate_constraint
validate_constraint("{name}", "{table}")
# a revision for a new column, which has nothing to check while it is NULL everywhere:
op.add_column(
    "{table}", sa.Column("new_id", ..., sa.ForeignKey("{parent}.id")), inline_references=True
)""",
    example='op.create_foreign_key("fk_orders", "orders", "customers", ["customer_id"], ["id"])',
    fields={
        "table": "orders",
        "columns": '"customer_id"',
        "name": "fk_orders",
        "parent": "customers",
    },
    reference="sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT",
)
def foreign_key_scan(context: RuleContext) -> Iterator[Problem]:
    for action in context.statement.of_kind("ENFORCE"):
        yield problem(context.target, name=action.name, instead=ENFORCED)
    for constraint in _validated(context, "FOREIGN KEY"):
        yield _constraint_problem(context, constraint)
    for action in context.statement.of_kind("ADD COLUMN"):
        # Without a default all rows have NULL there, and PostgreSQL skips the check.
        if action.column and action.column.default:
            for constraint in action.column.constraints:
                if constraint.kind == "FOREIGN KEY":
                    yield _constraint_problem(context, constraint)


ENFORCED = """\
# drop it and add it again as NOT VALID in this revision, so that new rows are checked from now on;
# the next revision:
from slipway.operations import validate_constraint
validate_constraint("{name}", "{table}")"""


@of_statement(
    name="check-scan",
    severity="error",
    locks=True,
    summary="check {name} is verified under a lock that blocks reads and writes of {table}",
    why="ACCESS EXCLUSIVE is held while PostgreSQL reads every row.",
    instead="""\
# this revision: new rows are checked from now on
op.create_check_constraint(
    op.f("{name}"), "{table}", {expression}, postgresql_not_valid=True
)
# the next revision: old rows are checked while reads and writes go on
from slipway.operations import validate_constraint
validate_constraint("{name}", "{table}")""",
    example='op.create_check_constraint("ck_orders_total", "orders", "total > 0")',
    fields={"table": "orders", "expression": "'total > 0'", "name": "ck_orders_total"},
    reference="sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT",
)
def check_scan(context: RuleContext) -> Iterator[Problem]:
    for constraint in _validated(context, "CHECK"):
        is_new = ("DOMAIN", context.target) in context.before.objects and (
            context.before.objects["DOMAIN", context.target].revision == context.now.revision
        )
        if not is_new:
            yield _constraint_problem(context, constraint)


@of_statement(
    name="unique-scan",
    severity="error",
    locks=True,
    summary="the index of {name} is built under a lock that blocks reads and writes of {table}",
    why="ADD UNIQUE holds ACCESS EXCLUSIVE for the whole build.",
    instead="""\
# this revision, alone in it:
from slipway.operations import create_index_concurrently
create_index_concurrently("{name}", "{table}", [{columns}], unique=True)
# the next revision, instant:
op.execute("ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")""",
    example='op.create_unique_constraint("uq_orders_note", "orders", ["note"])',
    fields={"table": "orders", "columns": '"note"', "name": "uq_orders_note"},
    reference="sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX",
)
def unique_scan(context: RuleContext) -> Iterator[Problem]:
    for constraint in _validated(context, "UNIQUE"):
        if not constraint.using_index:
            yield _constraint_problem(context, constraint)
    for _, constraint in _with_column(context, "UNIQUE"):
        yield _constraint_problem(context, constraint)


@of_statement(
    name="primary-key-scan",
    severity="error",
    locks=True,
    summary="the primary key of {table} is built under a lock that blocks reads and writes",
    why="ADD PRIMARY KEY holds ACCESS EXCLUSIVE while it builds the index. With USING INDEX it "
    "still reads all rows if a column may be NULL as far as PostgreSQL knows.",
    instead="""\
# 1. a revision of its own:
from slipway.operations import create_index_concurrently
create_index_concurrently("{table}_pkey", "{table}", [{columns}], unique=True)
# 2. if a column is nullable, see `--explain set-not-null-scan`
# 3. the last revision, instant:
op.execute("ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY USING INDEX {table}_pkey")\
""",
    example='op.create_primary_key("visits_pkey", "visits", ["id"])',
    fields={"table": "visits", "columns": '"id"'},
    reference="sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX",
)
def primary_key_scan(context: RuleContext) -> Iterator[Problem]:
    for constraint in _validated(context, "PRIMARY KEY"):
        index = context.before.indexes.get(Name(context.target.schema, constraint.using_index))
        proven = index and all(
            context.before.is_never_null(context.target, key) for key in index.keys
        )
        if not proven:
            yield _constraint_problem(context, constraint)
    for _, constraint in _with_column(context, "PRIMARY KEY"):
        yield _constraint_problem(context, constraint)


@of_statement(
    name="exclusion-scan",
    severity="error",
    locks=True,
    summary="exclusion constraint {name} is built under a lock that blocks all use of {table}",
    why="It is an index built under ACCESS EXCLUSIVE, and PostgreSQL has no other way to add it.",
    instead="""\
# a new table that has the constraint from its first row, writes to both tables,
# update_in_batches, and reads from the new one; or a time at which {table} is not used""",
    example="""\
op.execute(
    "ALTER TABLE bookings ADD CONSTRAINT no_overlap "
    "EXCLUDE USING gist (room WITH =, during WITH &&)"
)""",
    fields={"table": "bookings", "name": "no_overlap"},
    reference="ddl-constraints.html#DDL-CONSTRAINTS-EXCLUSION",
)
def exclusion_scan(context: RuleContext) -> Iterator[Problem]:
    for constraint in _validated(context, "EXCLUDE"):
        yield _constraint_problem(context, constraint)


@of_statement(
    name="set-not-null-scan",
    severity="error",
    locks=True,
    summary="SET NOT NULL on {table}.{column} reads all rows while reads and writes wait",
    why="Without a valid CHECK (c IS NOT NULL) that proves it, PostgreSQL scans the table "
    "under ACCESS EXCLUSIVE.",
    instead="""\
# this revision, when no row has NULL there any more (update_in_batches):
from slipway.operations import refuse_nulls
refuse_nulls("{table}", "{column}")
op.create_check_constraint(
    op.f("ck_{table}_{column}_nn"), "{table}", "{column} IS NOT NULL", postgresql_not_valid=True
)
# the next revision, whose statements can all be tried again:
op.execute("SET LOCAL statement_timeout = 0")
op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{column}_nn")
op.alter_column("{table}", "{column}", nullable=False)
op.drop_constraint(op.f("ck_{table}_{column}_nn"), "{table}", type_="check")""",
    example='op.alter_column("orders", "note", nullable=False)',
    fields={"table": "orders", "column": "note"},
    reference="sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-NOT-NULL",
)
def set_not_null_scan(context: RuleContext) -> Iterator[Problem]:
    columns = [action.name for action in context.statement.of_kind("SET NOT NULL")]
    columns += [c for constraint in _validated(context, "NOT NULL") for c in constraint.columns]
    for column in columns:
        if not context.before.is_never_null(context.target, column):
            yield problem(
                context.target,
                column=column,
                instead=NOT_NULL_18 if context.postgresql >= 18 else "",
            )


NOT_NULL_18 = """\
# this revision (PostgreSQL 18):
op.execute("ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_nn NOT NULL {column} NOT VALID")
# the next revision:
from slipway.operations import validate_constraint
validate_constraint("{table}_{column}_nn", "{table}")"""


@of_statement(
    name="validate-in-same-transaction",
    severity="error",
    locks=True,
    summary="VALIDATE CONSTRAINT {name} scans {table} under the stronger lock of {cause}",
    why="VALIDATE itself lets reads and writes go on, but locks are kept until the transaction "
    "ends: those taken before it last through the scan.",
    instead="""\
# a later revision than the one that adds the constraint:
from slipway.operations import validate_constraint
validate_constraint("{name}", "{table}")""",
    example="""\
op.create_check_constraint(
    op.f("ck_orders_total"), "orders", "total > 0", postgresql_not_valid=True
)
op.execute("ALTER TABLE orders VALIDATE CONSTRAINT ck_orders_total")""",
    fields={"table": "orders", "cause": "its addition", "name": "ck_orders_total"},
    reference="sql-altertable.html#SQL-ALTERTABLE-NOTES",
)
def validate_in_same_transaction(context: RuleContext) -> Iterator[Problem]:
    if context.autocommit:
        return
    held = [str(table) for table in context.held]
    for action in context.statement.of_kind("VALIDATE CONSTRAINT"):
        known = context.before.table(context.target).constraints.get(action.name)
        added_here = known and known.made == context.now and not known.valid
        if added_here or held:
            cause = "its addition" if added_here else f"what was done to {held[0]} before"
            yield problem(context.target, name=action.name, cause=cause)


# ---- Several at once


@of_statement(
    name="lock-chain",
    severity="warning",
    locks=True,
    summary="locks {table} while it still holds {held}",
    why="While it queues for the second table, all queries of the first wait. Two such "
    "transactions in opposite order are a deadlock.",
    instead="# one revision for {held}, another for {table}",
    example="""\
op.add_column("orders", sa.Column("channel", sa.Text()))
op.add_column("customers", sa.Column("channel", sa.Text()))""",
    fields={"table": "customers", "held": "orders"},
    reference="explicit-locking.html#LOCKING-DEADLOCKS",
)
def lock_chain(context: RuleContext) -> Iterator[Problem]:
    if context.autocommit and len(context.statement.targets) < 2:
        return
    wanted = [t for t in strong_locks(context.statement, context.before) if not context.is_new(t)]
    held = list(context.held) + wanted
    others = [table for table in wanted if table not in context.held and table != held[0]]
    for table in others[:1]:
        yield problem(table, held=str(held[0]))


@of_statement(
    name="lock-table",
    severity="error",
    locks=True,
    summary="LOCK {table} makes others wait until the transaction ends",
    why="It takes ACCESS EXCLUSIVE unless it names a mode, long before it is needed.",
    instead="# leave it out: each statement takes the lock that it needs",
    example='op.execute("LOCK TABLE orders")',
    fields={"table": "orders"},
    reference="sql-lock.html",
)
def lock_table(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind == "LOCK":
        for table in context.statement.targets:
            yield problem(table)


@of_statement(
    name="partition-scan",
    severity="warning",
    locks=True,
    summary="{verb} PARTITION {partition} scans or locks it while others wait",
    why="ATTACH reads the partition under ACCESS EXCLUSIVE unless a valid CHECK on it proves its "
    "bounds; DETACH takes ACCESS EXCLUSIVE on the partitioned table.",
    instead="""\
# ATTACH: a revision before adds the bounds as a CHECK
op.create_check_constraint(
    op.f("ck_{partition}_bounds"), "{partition}", "key IS NOT NULL AND ...",
    postgresql_not_valid=True,
)
# the next revision validates it
from slipway.operations import validate_constraint
validate_constraint("ck_{partition}_bounds", "{partition}")
# DETACH, alone in its revision:
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE {table} DETACH PARTITION {partition} CONCURRENTLY")""",
    example="""\
op.execute(
    "ALTER TABLE events ATTACH PARTITION events_2025 "
    "FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')"
)""",
    fields={"table": "events", "partition": "events_2025", "verb": "ATTACH"},
    reference="ddl-partitioning.html#DDL-PARTITIONING-DECLARATIVE-MAINTENANCE",
)
def partition_scan(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind != "ALTER TABLE":
        return  # of an index, it is a change of the catalogue
    for action in context.statement.of_kind("ATTACH PARTITION", "DETACH PARTITION"):
        partition = action.target
        if not partition or context.is_new(partition) or action.flags:
            continue
        if action.kind == "ATTACH PARTITION" and _proves_bounds(context, partition):
            continue
        verb = action.kind.split()[0]
        yield problem(partition, partition=str(partition), table=str(context.target), verb=verb)


def _proves_bounds(context: RuleContext, partition: Name) -> bool:
    """Whether a valid CHECK of the partition speaks of all the values that bound it, of columns
    that are never NULL: a CHECK lets NULL pass, and a partition does not."""
    values = {t.text for t in context.statement.tokens if t.kind in ("string", "number")}
    table = context.before.table(partition)
    return bool(values) and any(
        constraint.valid
        and values <= {token.text for token in constraint.expression}
        and all(
            context.before.is_never_null(partition, column)
            for column in table.columns
            if uses(constraint, column)
        )
        for constraint in table.constraints.values()
    )


@of_statement(
    name="trigger",
    severity="info",
    locks=True,
    summary="{kind} on {table} blocks writes for a moment",
    why="It takes SHARE ROW EXCLUSIVE, and waits for every transaction that has written.",
    instead="# nothing, as long as lock_timeout is short: the runner tries again",
    example="""\
op.execute(
    "CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()"
)""",
    fields={"table": "orders", "kind": "CREATE TRIGGER"},
    reference="explicit-locking.html#LOCKING-TABLES",
)
def trigger(context: RuleContext) -> Iterator[Problem]:
    table = context.statement.table
    if context.statement.kind in ("CREATE TRIGGER", "DROP TRIGGER") and table:
        yield problem(table, kind=context.statement.kind)
    for _ in context.statement.of_kind("TOGGLE TRIGGER"):
        yield problem(context.target, kind="ENABLE or DISABLE TRIGGER")


@of_statement(
    name="drop-constraint",
    severity="warning",
    locks=True,
    contract=True,
    summary="dropping {name} locks {tables} against reads and writes",
    why="To drop a foreign key, alone or with its table, takes ACCESS EXCLUSIVE on the table that "
    "it refers to as well.",
    instead="# one constraint for each revision, and a foreign key in one before its table",
    example='op.drop_constraint("ck_orders_status", "orders")',
    fields={"name": "ck_orders_status", "tables": "orders"},
    reference="sql-altertable.html",
)
def drop_constraint(context: RuleContext) -> Iterator[Problem]:
    for action in context.statement.of_kind("DROP CONSTRAINT"):
        known = context.before.table(context.target).constraints.get(action.name)
        parent = f" and {known.references}" if known and known.references else ""
        yield problem(
            context.target,
            name=action.name,
            tables=f"{context.target}{parent}",
            severity="info" if _is_proven_not_null(context, action.name) else "",
        )
    if context.statement.kind == "DROP TABLE":
        for table in context.statement.targets:
            for key in context.before.foreign_keys(table):
                yield problem(table, name=str(table), tables=str(key.references))


def _is_proven_not_null(context: RuleContext, name: str) -> bool:
    """Whether this is the last step of making a column NOT NULL: its CHECK has done its work."""
    table = context.before.table(context.target)
    known = table.constraints.get(name)
    return bool(known and known.kind == "CHECK" and known.valid) and any(
        column.not_null and known and any(token.name == key for token in known.expression)
        for key, column in table.columns.items()
    )
