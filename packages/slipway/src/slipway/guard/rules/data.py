"""Data that a schema revision changes, and what goes further than its text says."""

from collections.abc import Iterator

from slipway.guard.rule import Problem, RuleContext, of_statement, problem
from slipway.guard.sql.model import DataChange
from slipway.locks import ACCESS_EXCLUSIVE

BACKFILL = """\
# a revision of its own: short transactions along the primary key, and it can be run again
from slipway.operations import update_in_batches
update_in_batches("{table}", "new = old", where="new IS NULL")"""


def _changes(context: RuleContext) -> Iterator[DataChange]:
    """Changes of rows in tables that were there before this revision."""
    return (change for change in context.statement.changes if not context.is_new(change.table))


@of_statement(
    name="unbounded-data-change",
    severity="error",
    summary="{verb} of all rows of {table}",
    why="It locks every row until the transaction ends, doubles the table on disk, and replicas "
    "fall behind.",
    instead=BACKFILL,
    example="""op.execute("UPDATE orders SET status = 'new'")""",
    fields={"table": "orders", "verb": "UPDATE"},
    reference="routine-vacuuming.html",
)
def unbounded_data_change(context: RuleContext) -> Iterator[Problem]:
    for change in _changes(context):
        if not change.bounded:
            yield problem(change.table, verb=change.verb)


@of_statement(
    name="data-in-schema-revision",
    severity="warning",
    summary="{verb} on {table} in the transaction of a migration",
    why="It holds its locks until the revision is done, starts from the beginning after a failure, "
    "and makes a deployment as slow as the table is large.",
    instead=BACKFILL,
    example="""op.execute("UPDATE orders SET status = 'new' WHERE status IS NULL")""",
    fields={"table": "orders", "verb": "UPDATE"},
    reference="explicit-locking.html#LOCKING-ROWS",
)
def data_in_schema_revision(context: RuleContext) -> Iterator[Problem]:
    for change in _changes(context):
        if not context.autocommit:
            yield problem(change.table, verb=change.verb)


@of_statement(
    name="data-under-lock",
    severity="error",
    summary="{verb} on {table} while {held} is locked against {others}",
    why="The lock, taken by a statement before, is kept until the data is written.",
    instead="# the schema in one revision; then, without its lock:\n" + BACKFILL,
    example="""\
op.add_column("orders", sa.Column("channel", sa.Text()))
op.execute("UPDATE orders SET channel = 'web' WHERE channel IS NULL")""",
    fields={"table": "orders", "held": "orders", "others": "reads", "verb": "UPDATE"},
    reference="explicit-locking.html#LOCKING-TABLES",
)
def data_under_lock(context: RuleContext) -> Iterator[Problem]:
    if not context.held or context.autocommit:
        return
    held, mode = min(context.held.items(), key=lambda lock: lock[1])  # ACCESS EXCLUSIVE comes first
    others = "reads" if mode == ACCESS_EXCLUSIVE else "writes"
    for change in context.statement.changes:
        reads = any(
            source in context.before.tables and not context.is_new(source)
            for source in change.sources
        )
        if reads or not context.is_new(change.table):
            yield problem(
                None, table=str(change.table), verb=change.verb, held=str(held), others=others
            )


@of_statement(
    name="truncate",
    severity="error",
    summary="TRUNCATE {table}: its rows are lost, and reads wait meanwhile",
    why="There is no way back, and it takes ACCESS EXCLUSIVE.",
    instead="# delete what is no longer needed in batches, outside of migrations",
    example='op.execute("TRUNCATE orders")',
    fields={"table": "orders"},
    reference="sql-truncate.html",
)
def truncate(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind == "TRUNCATE":
        for table in context.statement.targets:
            yield problem(table)


@of_statement(
    name="cascade",
    severity="error",
    summary="{operation} takes along whatever depends on {table}, in any number",
    why="What is dropped or emptied depends on what the database has, not on what was reviewed.",
    instead="# name the dependents: a statement for each of them, then this one without CASCADE",
    example='op.execute("DROP TABLE orders CASCADE")',
    fields={"table": "orders", "operation": "DROP TABLE"},
    reference="ddl-depend.html",
)
def cascade(context: RuleContext) -> Iterator[Problem]:
    statement = context.statement
    whole = ("DROP SCHEMA", "DROP DATABASE", "DROP OWNED BY")
    if statement.kind in whole or "CASCADE" in statement.flags:
        made = context.before.objects.get((statement.kind.removeprefix("DROP "), context.target))
        if not (made and made.revision == context.now.revision):
            yield problem(context.target, operation=statement.kind)


# ---- Statements that the guard cannot see into


@of_statement(
    name="opaque-sql",
    severity="warning",
    summary="{operation}: what it does is not seen before it runs",
    why="The body is a text that PostgreSQL reads when it gets there. A rehearsal still sees its "
    "locks.",
    instead="# plain statements, one op.execute() for each",
    example='op.execute("DO $$ BEGIN DELETE FROM orders; END $$")',
    fields={"operation": "DO"},
    reference="sql-do.html",
)
def opaque_sql(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind in ("DO", "EXECUTE", "CALL", "CREATE FUNCTION"):
        yield problem(operation=context.statement.kind)


@of_statement(
    name="multiple-statements",
    severity="error",
    summary="several statements in one op.execute()",
    why="asyncpg refuses it: cannot insert multiple commands into a prepared statement. Offline "
    "SQL looks right all the same.",
    instead="# an op.execute() for each statement",
    example='op.execute("CREATE TABLE a (id bigint); CREATE TABLE b (id bigint)")',
    reference="protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY",
)
def multiple_statements(context: RuleContext) -> Iterator[Problem]:
    if not context.alone:
        yield problem()
