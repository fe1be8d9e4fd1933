"""What makes a revision fail half-way, mean something else tomorrow, or hide what it does."""

import re
from collections.abc import Iterator

from slipway.guard.rule import (
    Problem,
    RevisionContext,
    RuleContext,
    also_of_revision,
    declare,
    of_revision,
    of_statement,
    problem,
)
from slipway.guard.sql.model import Column
from slipway.project.renamed import REWRITE
from slipway.project.source import Reference

# ---- Transactions


@of_revision(
    name="mixed-autocommit",
    severity="error",
    summary="an autocommit block beside statements of the migration's transaction",
    why="The block commits what came before it. If it fails, that stays, and the next attempt "
    "stops there: column already exists.",
    instead="# two revisions: one for the transaction, one with nothing but\n"
    'create_index_concurrently("ix_t_c", "t", ["c"])',
    example="""\
op.add_column("orders", sa.Column("channel", sa.Text()))
create_index_concurrently("ix_orders_channel", "orders", ["channel"])""",
    reference="sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
)
def mixed_autocommit(revision: RevisionContext) -> Iterator[Problem]:
    statements = [
        context for context in revision.statements if context.statement.kind not in HARMLESS
    ]
    if len({context.autocommit for context in statements}) == 2:
        second = next(
            context for context in statements if context.autocommit != statements[0].autocommit
        )
        yield problem(lines=second.lines)


HARMLESS = ("SET", "RESET", "SHOW", "SELECT", "VALUES", "COMMENT")


@of_statement(
    name="concurrent-if-not-exists",
    severity="warning",
    summary="IF NOT EXISTS accepts {index} even if a failed build left it INVALID",
    why="An INVALID index is there, costs every write, and is never used.",
    instead="""\
from slipway.operations import create_index_concurrently
create_index_concurrently("{index}", "{table}", [...])  # drops an invalid leftover first""",
    example="""\
with op.get_context().autocommit_block():
    op.create_index(
        "ix_orders_note", "orders", ["note"], postgresql_concurrently=True, if_not_exists=True
    )""",
    fields={"table": "orders", "index": "ix_orders_note"},
    reference="sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
)
def concurrent_if_not_exists(context: RuleContext) -> Iterator[Problem]:
    statement = context.statement
    accepts = {"CONCURRENTLY", "IF NOT EXISTS"} <= statement.flags
    if statement.kind != "CREATE INDEX" or not accepts:
        return
    if not any(s.kind == "DROP INDEX" and context.target in s.targets for s in context.earlier):
        yield problem(None, index=context.target.name, table=str(statement.table))


@of_statement(
    name="manual-commit",
    severity="error",
    summary="{kind} ends the migration's transaction, and Alembic does not know",
    why="What follows is not undone by a failure, and the version table no longer tells what was "
    "done.",
    instead="with op.get_context().autocommit_block():\n    ...",
    example='op.execute("COMMIT")',
    fields={"kind": "COMMIT"},
    reference="tutorial-transactions.html",
)
def manual_commit(context: RuleContext) -> Iterator[Problem]:
    kinds = ("BEGIN", "COMMIT", "ROLLBACK", "START", "END", "ABORT", "PREPARE")
    savepoint = context.statement.kind == "ROLLBACK" and context.statement.has("TO")
    prepared = context.statement.kind == "PREPARE" and not context.statement.has("TRANSACTION")
    if context.statement.kind in kinds and not savepoint and not prepared:
        yield problem(kind=context.statement.kind)


@of_revision(
    name="leaking-timeout",
    severity="warning",
    summary="{setting}: {effect}",
    why="SET without LOCAL lasts as long as the connection, on which later revisions run; with "
    "lock_timeout off, all queries wait behind a migration that waits.",
    instead="op.execute(\"SET LOCAL {setting} = '5s'\")",
    example='op.execute("SET lock_timeout = 0")',
    fields={"effect": "off in a transaction", "setting": "lock_timeout"},
    reference="runtime-config-client.html#GUC-LOCK-TIMEOUT",
)
def leaking_timeout(revision: RevisionContext) -> Iterator[Problem]:
    reset: set[str] = set()  # by a later statement
    for context in reversed(revision.statements):
        statement, setting = context.statement, context.target.name
        if statement.kind == "RESET" or "DEFAULT" in statement.flags:
            reset.add(setting)
        if statement.kind != "SET" or not setting.endswith("_timeout"):
            continue
        value = statement.tokens[-1].value or statement.tokens[-1].text
        off = re.fullmatch(r"0+\s*(us|ms|s|min|h|d)?", value)
        if off and setting == "lock_timeout" and not context.autocommit:
            yield problem(lines=context.lines, setting=setting, effect="off in a transaction")
        elif not {"LOCAL", "DEFAULT"} & statement.flags and not {setting, "all"} & reset:
            effect = "set for all later revisions too"
            yield problem(lines=context.lines, setting=setting, effect=effect)


# ---- Python


def _references(
    revision: RevisionContext, pattern: str, *, calls: bool | None = None
) -> Iterator[Reference]:
    """The places where the code uses such a name, each line once."""
    found = {
        reference.line: reference
        for reference in reversed(revision.source.references)
        if calls in (None, reference.is_call) and re.fullmatch(pattern, reference.name)
    }
    yield from reversed(found.values())


@also_of_revision("manual-commit")
def manual_commit_in_python(revision: RevisionContext) -> Iterator[Problem]:
    for reference in _references(revision, r".*\.(commit|rollback)", calls=True):
        yield problem(lines=(reference.line,), kind=f"{_short(reference)}()")


@of_revision(
    name="create-all",
    severity="error",
    summary="{call}() takes the schema from the models of the day it runs on",
    why="The same revision makes another schema next year, and none of what it does is reviewed.",
    instead='op.create_table("t", sa.Column("id", ...))  # explicit operations, from autogenerate',
    example="""\
tables = sa.MetaData()
sa.Table("invoices", tables, sa.Column("id", sa.BigInteger(), primary_key=True))
tables.create_all(op.get_bind())""",
    fields={"call": "tables.create_all"},
    reference="https://alembic.sqlalchemy.org/en/latest/ops.html",
)
def create_all(revision: RevisionContext) -> Iterator[Problem]:
    for reference in _references(revision, r".*\.(create_all|drop_all|reflect)"):
        yield problem(lines=(reference.line,), call=_short(reference))


IMPURE = (
    r"time\.(sleep|time)|asyncio\.sleep|os\.getenv|os\.system"
    r"|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    r"|(requests|httpx2?|aiohttp|urllib3?|http\.client|socket|smtplib|ftplib|boto3|subprocess)\..*"
)


@of_revision(
    name="impure-migration",
    severity="warning",
    summary="{what}: the result depends on when and where it runs",
    why="The transaction stays open meanwhile, and another database gets another result.",
    instead="# constants, or now() in SQL; anything else before or after the migration",
    example="""\
from datetime import date


def upgrade() -> None:
    op.add_column("orders", sa.Column("day", sa.Date(), server_default=str(date.today())))""",
    fields={"what": "datetime.date.today()"},
    reference="functions-datetime.html#FUNCTIONS-DATETIME-CURRENT",
)
def impure_migration(revision: RevisionContext) -> Iterator[Problem]:
    for reference in _references(revision, IMPURE, calls=True):
        yield problem(lines=(reference.line,), what=f"{reference.name}()")
    for reference in _references(revision, r"os\.environb?", calls=False):
        yield problem(lines=(reference.line,), what=reference.name)


def _short(reference: Reference) -> str:
    return reference.name.removeprefix("?").removeprefix(".")


@of_revision(
    name="imports-application",
    severity="error",
    summary="imports {module}, which is not the same when this revision runs next year",
    why="Models move on, and then old revisions fail or do something else.",
    instead='table = sa.table("t", sa.column("id", sa.BigInteger))  # as it is in this revision',
    example="""\
from shop.models import Order


def upgrade() -> None:
    op.execute(sa.delete(Order).where(Order.id < 100))""",
    fields={"module": "shop.models.Order"},
    reference="https://alembic.sqlalchemy.org/en/latest/ops.html",
)
def imports_application(revision: RevisionContext) -> Iterator[Problem]:
    for reference in revision.source.imports:
        if reference.name.partition(".")[0] in revision.applications:
            yield problem(lines=(reference.line,), module=reference.name)


@also_of_revision("change-enum")
def change_enum_in_python(revision: RevisionContext) -> Iterator[Problem]:
    for reference in _references(revision, r".*\.sync_enum_values", calls=True):
        yield problem(lines=(reference.line,), operation="op.sync_enum_values() rewrites", type="")


@of_revision(
    name="not-renderable",
    severity="info",
    summary="its SQL cannot be known without a database: {reason}",
    why="What was not seen was not judged. Only a rehearsal on a real database can tell.",
    instead="# statements that need no result of others; and a rehearsal: slipway rehearse",
    example="""\
for row in op.get_bind().execute(sa.text("SELECT id FROM orders")).all():
    op.execute(f"UPDATE orders SET status = 'new' WHERE id = {row.id}")""",
    fields={"reason": "AttributeError: 'NoneType' object has no attribute 'all'"},
    reference="https://alembic.sqlalchemy.org/en/latest/offline.html",
)
def not_renderable(revision: RevisionContext) -> Iterator[Problem]:
    for reference in _references(revision, r".*\.(is_offline_mode|as_sql)"):
        reason = "it does something else offline"
        yield problem(lines=(reference.line,), reason=reason)


@of_revision(
    name="empty-downgrade",
    severity="info",
    summary="downgrade() does nothing, and does not say why",
    why="There is no way back to the release before.",
    instead='def downgrade() -> None:\n    """Nothing: why there is no way back."""',
    example="""\
def upgrade() -> None:
    op.add_column("orders", sa.Column("channel", sa.Text()))


def downgrade() -> None:
    pass""",
    reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)
def empty_downgrade(revision: RevisionContext) -> Iterator[Problem]:
    source = revision.source
    if source.is_empty("downgrade") and not source.is_empty("upgrade"):
        function = source.function("downgrade")
        first = source.line_of("downgrade")
        last = (function.end_lineno or first) if function else first
        yield problem(lines=tuple(range(first, last + 1)))


@of_revision(
    name="long-revision-id",
    severity="error",
    summary="the revision id has {length} characters, alembic_version has room for 32",
    why="It fails at the very end: value too long for type character varying(32).",
    instead='revision = "{short}"',
    example='revision = "20251128_a_column_for_the_channel_of_orders"',
    fields={"length": "43", "short": "20251128_a_column_for_the_channe"},
    reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)
def long_revision_id(revision: RevisionContext) -> Iterator[Problem]:
    name = revision.source.revision
    if len(name) > 32:
        line = revision.source.line_of("revision")
        yield problem(lines=(line,), length=str(len(name)), short=name[:32])


# ---- Found elsewhere

declare(
    name="edited-history",
    severity="error",
    summary="the base branch has this revision, and it was {reason} here",
    why="Databases that ran the old one differ for ever from those that run the new one.",
    instead="# git checkout the file, and write a new revision",
    fields={"reason": "edited"},
    example="# a revision that the base branch has already, with another upgrade()",
    reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)
declare(
    name="old-import",
    severity="error",
    summary="imports {module}; the library is called slipway now",
    why="Alembic imports every revision: without this one, none can be run.",
    instead=REWRITE,
    fields={"module": "migrator.operations.create_index_concurrently"},
    example="from migrator.operations import create_index_concurrently",
    reference="https://alembic.sqlalchemy.org/en/latest/ops.html",
)
declare(
    name="multiple-heads",
    severity="error",
    summary="the revisions are no chain: {reason}",
    why="`upgrade head` needs one end of one unbroken chain.",
    instead='# down_revision = "<the head of the base branch>", or: alembic merge heads',
    example="# two revisions with the same down_revision",
    fields={"reason": "4f2a is a head, and so is 9c1d"},
    reference="https://alembic.sqlalchemy.org/en/latest/branches.html",
)
declare(
    name="bad-suppression",
    severity="error",
    summary="this comment permits nothing: {reason}",
    why="A suppression that does nothing, or does not say why, hides the next mistake.",
    instead="# guard: allow[rule] the reason",
    example='op.drop_column("orders", "note")  # guard: allow[drop-column]',
    fields={"reason": "write it as `# guard: allow[rule] reason`"},
)

# ---- New columns that cost later


def _new_columns(context: RuleContext) -> Iterator[Column]:
    if context.statement.kind == "CREATE TABLE":
        yield from context.statement.columns
    for action in context.statement.of_kind("ADD COLUMN"):
        if action.column and context.statement.kind == "ALTER TABLE":
            yield action.column


@of_statement(
    name="small-primary-key",
    severity="info",
    summary="the key {table}.{column} ends at {limit} rows",
    why="On the day that the numbers run out, no row can be added; to widen the key of a large "
    "table takes weeks.",
    instead='sa.Column("{column}", sa.BigInteger, sa.Identity(), primary_key=True)  # or uuidv7()',
    example='op.create_table("invoices", sa.Column("id", sa.Integer(), primary_key=True))',
    fields={"table": "invoices", "column": "id", "limit": "2,147,483,647"},
    reference="datatype-numeric.html#DATATYPE-INT",
)
def small_primary_key(context: RuleContext) -> Iterator[Problem]:
    limits = {"integer": "2,147,483,647", "smallint": "32,767"}
    keys = [c.columns for c in context.statement.constraints if c.kind == "PRIMARY KEY"]
    own = [c.columns for c in context.statement.constraints if c.kind == "FOREIGN KEY"]
    for column in _new_columns(context):
        is_key = column.has("PRIMARY KEY") or (column.name,) in keys
        refers = column.has("FOREIGN KEY") or (column.name,) in own
        if is_key and not refers and column.type.name in limits and not column.type.array:
            limit = limits[column.type.name]
            yield problem(None, table=str(context.target), column=column.name, limit=limit)


@of_statement(
    name="naive-timestamp",
    severity="info",
    summary="{table}.{column} does not know its time zone",
    why="A timestamp without time zone means another moment in each session.",
    instead='sa.Column("{column}", sa.DateTime(timezone=True))',
    example='op.add_column("orders", sa.Column("paid_at", sa.DateTime()))',
    fields={"table": "orders", "column": "paid_at"},
    reference="datatype-datetime.html#DATATYPE-TIMEZONES",
)
def naive_timestamp(context: RuleContext) -> Iterator[Problem]:
    for column in _new_columns(context):
        if column.type.name == "timestamp":
            yield problem(None, table=str(context.target), column=column.name)


@of_statement(
    name="json-column",
    severity="info",
    summary="{table}.{column} is json",
    why="json keeps the text: no index, no comparison, and a parse for each access.",
    instead='sa.Column("{column}", postgresql.JSONB)',
    example='op.add_column("orders", sa.Column("details", postgresql.JSON()))',
    fields={"table": "orders", "column": "details"},
    reference="datatype-json.html",
)
def json_column(context: RuleContext) -> Iterator[Problem]:
    for column in _new_columns(context):
        if column.type.name == "json":
            yield problem(None, table=str(context.target), column=column.name)
