"""Statements after which PostgreSQL rewrites the whole table while reads and writes wait."""

from collections.abc import Iterator

from slipway.guard.rule import Problem, RuleContext, of_statement, problem
from slipway.guard.schema import uses
from slipway.guard.sql.lexer import Token
from slipway.guard.sql.model import Column, Type
from slipway.guard.sql.parser import parse

REWRITE = "Every row is written again, with all indexes, under ACCESS EXCLUSIVE: no reads and no "


@of_statement(
    name="table-rewrite",
    severity="error",
    locks=True,
    summary="{operation} rewrites {table} while reads and writes wait",
    why=REWRITE + "writes until it is done, and the disk holds the table twice.",
    instead="""\
# a materialized view with a unique index, in an autocommit block:
op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY {table}")
# a table: the extension pg_repack, outside of migrations, or a time at which it is not used""",
    example='op.execute("REFRESH MATERIALIZED VIEW sales")',
    fields={"table": "sales", "operation": "REFRESH"},
    reference="sql-refreshmaterializedview.html",
)
def table_rewrite(context: RuleContext) -> Iterator[Problem]:
    statement = context.statement
    kind = statement.kind
    whole = kind == "CLUSTER" or (kind == "VACUUM" and "FULL" in statement.flags)
    if whole or (kind == "REFRESH" and "CONCURRENTLY" not in statement.flags):
        for table in statement.targets or (None,):
            yield problem(table, operation=kind, table=str(table or "every table"))
    options = ("SET LOGGED", "SET UNLOGGED", "SET TABLESPACE", "SET ACCESS", "SET EXPRESSION")
    if kind in ("ALTER TABLE", "ALTER INDEX", "ALTER MATERIALIZED VIEW"):
        for action in statement.of_kind(*options):
            yield problem(context.target, operation=action.kind)


@of_statement(
    name="change-column-type",
    severity="error",
    summary="the type of {table}.{column} becomes {type}: {effect}",
    why=REWRITE + "writes. Even where PostgreSQL keeps the rows as they are (a longer varchar, "
    "varchar to text), one request of each process fails with InvalidCachedStatementError.",
    instead="""\
# 1. a revision adds a column, which the application or a trigger writes whenever {column} is
op.add_column("{table}", sa.Column("{column}_new", ...))
# 2. a revision of its own copies what is there
from slipway.operations import update_in_batches
update_in_batches("{table}", "{column}_new = {column}", where="{column}_new IS NULL")
# 3. a release that reads {column}_new
# 4. the last revision
phase = "contract"
op.drop_column("{table}", "{column}")
""",
    example='op.alter_column("orders", "note", type_=sa.Integer(), postgresql_using="note::int")',
    fields={
        "table": "orders",
        "column": "note",
        "effect": "PostgreSQL writes or reads every row while others wait",
        "type": "integer",
    },
    reference="sql-altertable.html#SQL-ALTERTABLE-NOTES",
)
def change_column_type(context: RuleContext) -> Iterator[Problem]:
    for action in context.statement.of_kind("ALTER TYPE"):
        known = context.before.column(context.target, action.name)
        old = known.type if known and known.type.name else _type(context.existing_type)
        if context.statement.kind != "ALTER TABLE" or (action.plain and old == action.type):
            continue
        constraints = context.before.table(context.target).constraints.values()
        checked = any(c.kind == "CHECK" and uses(c, action.name) for c in constraints)
        # Only the index of a plain column keeps its file.
        indexed = any(
            index.table == context.target and action.name in index.within
            for index in context.before.indexes.values()
        )
        keeps = action.plain and not (checked or indexed) and is_coercible(old, action.type)
        yield problem(
            context.target,
            column=action.name,
            type=str(action.type),
            severity="warning" if keeps else "",
            effect="no rewrite, but readers see another type"
            if keeps
            else "PostgreSQL writes or reads every row while others wait",
        )


def _type(sql: str) -> Type:
    """What stands for a type in a statement."""
    for statement in parse(f"ALTER TABLE t ALTER c TYPE {sql}") if sql else ():
        return statement.actions[0].type
    return Type()


def is_coercible(old: Type, new: Type) -> bool:
    """Whether PostgreSQL keeps the rows as they are (manual, ALTER TABLE, Notes).

    timestamp to timestamptz is left out: it depends on the TimeZone of the session.
    """
    if old.array or new.array:
        return False
    sizes = [_sizes(old), _sizes(new)]
    if old.name == new.name == "numeric":
        return not sizes[1] or (bool(sizes[0]) and _fits(*sizes) and sizes[0][1:] == sizes[1][1:])
    if old.name == new.name and old.name in ("varchar", "varbit", "timestamp", "timestamptz"):
        return not sizes[1] or (bool(sizes[0]) and _fits(*sizes))
    if {old.name, new.name} <= {"varchar", "text"}:
        return not sizes[1]
    return (old.name, new.name) == ("cidr", "inet")


def _sizes(type_: Type) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in type_.modifiers if size.isdecimal())
    return (*sizes, 0) if type_.name == "numeric" and len(sizes) == 1 else sizes


def _fits(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return old[0] <= new[0]


# ---- New columns


def _added(context: RuleContext) -> Iterator[Column]:
    if context.statement.kind in ("ALTER TABLE", "ALTER FOREIGN TABLE"):
        for action in context.statement.of_kind("ADD COLUMN"):
            if action.column:
                yield action.column


@of_statement(
    name="volatile-default",
    severity="error",
    locks=True,
    summary="the default of {table}.{column} calls {function}() for each row",
    why=REWRITE + "writes. A constant or now() is stored once instead, at no cost.",
    instead="""\
op.add_column("{table}", sa.Column("{column}", ..., nullable=True))
op.alter_column("{table}", "{column}", server_default=sa.text("{function}()"))
# the next revision:
from slipway.operations import update_in_batches
update_in_batches("{table}", "{column} = DEFAULT", where="{column} IS NULL")""",
    example="""\
op.add_column(
    "orders", sa.Column("token", sa.Uuid(), server_default=sa.text("gen_random_uuid()"))
)""",
    fields={"table": "orders", "column": "token", "function": "gen_random_uuid"},
    reference="sql-altertable.html#SQL-ALTERTABLE-NOTES",
)
def volatile_default(context: RuleContext) -> Iterator[Problem]:
    for column in _added(context):
        if function := volatile_function(column.default):
            yield problem(context.target, column=column.name, function=function)


# Functions of PostgreSQL that give the same result for all rows of a statement; of a function that
# is not known here, PostgreSQL itself assumes that it is volatile unless its author says otherwise.
STABLE_NAMES = """
abs array array_fill bit_length btrim cardinality ceil ceiling char_length chr coalesce concat
concat_ws convert_from convert_to current_database current_role current_schema current_setting
current_user date date_part date_trunc daterange decode digest div encode exp floor format
greatest hashtext initcap inet int4range int8range interval json_build_array json_build_object
jsonb jsonb_build_array jsonb_build_object jsonb_set left length ln localtimestamp log lower lpad
ltrim make_date make_interval make_time make_timestamp make_timestamptz md5 mod now nullif numeric
numrange octet_length overlay pg_backend_pid position power quote_ident quote_literal
regexp_replace repeat replace reverse right round row rpad rtrim session_user sha256 sign
split_part sqrt statement_timestamp strpos substr substring textcat timestamp timestamptz timezone
to_char to_date to_hex to_json to_jsonb to_number to_timestamp to_tsvector transaction_timestamp
translate trim trunc tsrange tstzrange txid_current upper varchar varying char extract
current_timestamp current_time localtime time bit cast and or not in case when then else any all is
"""
STABLE = frozenset(STABLE_NAMES.split())


def volatile_function(expression: tuple[Token, ...]) -> str:
    """The first function in an expression that gives each row another value; empty if none does."""
    for index, token in enumerate(expression[:-1]):
        before = expression[index - 1].key if index else ""
        is_type = before in ("::", "AS")
        is_call = token.name and expression[index + 1].key == "(" and not is_type
        if is_call and token.name not in STABLE:
            return token.name
    return ""


@of_statement(
    name="add-identity",
    severity="error",
    locks=True,
    summary="{table}.{column} is numbered by PostgreSQL, which rewrites the table for it",
    why=REWRITE + "writes until each row has its number.",
    instead="""\
op.add_column("{table}", sa.Column("{column}", sa.BigInteger(), nullable=True))
# filled by the application, or by a sequence as default for new rows:
op.execute("CREATE SEQUENCE {table}_{column}_seq AS bigint")
op.alter_column("{table}", "{column}", server_default=sa.text("nextval('{table}_{column}_seq')"))
# the next revision:
from slipway.operations import update_in_batches
update_in_batches("{table}", "{column} = DEFAULT", where="{column} IS NULL")""",
    example='op.add_column("orders", sa.Column("number", sa.BigInteger(), sa.Identity()))',
    fields={"table": "orders", "column": "number"},
    reference="ddl-identity-columns.html",
)
def add_identity(context: RuleContext) -> Iterator[Problem]:
    for column in _added(context):
        if column.identity:
            yield problem(context.target, column=column.name)


@of_statement(
    name="add-stored-column",
    severity="error",
    locks=True,
    summary="{table}.{column} is generated and stored, so the table is rewritten",
    why=REWRITE + "writes until the value of each row is there.",
    instead="""\
# PostgreSQL 18 computes it when it is read, at no cost now ([tool.slipway] postgresql = 18):
op.add_column("{table}", sa.Column("{column}", ..., sa.Computed("...", persisted=False)))
# before: a view; or a plain column, a trigger, and update_in_batches""",
    example="""\
op.add_column(
    "orders", sa.Column("gross", sa.Numeric(), sa.Computed("total * 1.2", persisted=True))
)""",
    fields={"table": "orders", "column": "gross"},
    reference="ddl-generated-columns.html",
)
def add_stored_column(context: RuleContext) -> Iterator[Problem]:
    for column in _added(context):
        # Before PostgreSQL 18, SQLAlchemy adds STORED where nothing is said.
        stored = ("STORED", "UNSAID") if context.postgresql < 18 else ("STORED",)
        if column.generated in stored:
            yield problem(context.target, column=column.name)


@of_statement(
    name="add-checked-column",
    severity="error",
    locks=True,
    summary="{table}.{column} comes with a check, which is verified for every row",
    why="ACCESS EXCLUSIVE is held while PostgreSQL reads the table; for a domain with a constraint "
    "it even rewrites it.",
    instead="""\
# this revision:
op.add_column("{table}", sa.Column("{column}", ...))
op.create_check_constraint(
    op.f("ck_{table}_{column}"), "{table}", "...", postgresql_not_valid=True
)
# the next revision:
from slipway.operations import validate_constraint
validate_constraint("ck_{table}_{column}", "{table}")""",
    example="""\
op.add_column(
    "orders", sa.Column("fee", sa.Numeric(), sa.CheckConstraint("fee > 0"))
)""",
    fields={"table": "orders", "column": "fee"},
    reference="sql-altertable.html#SQL-ALTERTABLE-NOTES",
)
def add_checked_column(context: RuleContext) -> Iterator[Problem]:
    for column in _added(context):
        if column.has("CHECK") or column.type.name in context.before.constrained_domains:
            yield problem(context.target, column=column.name)
