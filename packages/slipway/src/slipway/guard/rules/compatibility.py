"""Changes that the release which still runs does not survive, or its callers notice."""

from collections.abc import Iterator

from slipway.guard.rule import Problem, RuleContext, of_statement, problem
from slipway.guard.sql.model import Action, Name

CONTRACT = """\
# 1. a release that neither reads nor writes it: no mapped attribute any more, as SQLAlchemy names
#    every mapped column in INSERT and SELECT, `deferred()` or not
# 2. when that release runs everywhere, a revision with
phase = "contract"
"""
EXPAND = """\
# 1. a revision adds the new name; the application or a trigger writes both
op.add_column("{table}", sa.Column("{new}", ...))
# 2. a revision of its own copies what is there
from slipway.operations import update_in_batches
update_in_batches("{table}", "{new} = {column}", where="{new} IS NULL")
# 3. releases that read the new name, and then no longer know the old one
# 4. the last revision
phase = "contract"
op.drop_column("{table}", "{column}")
"""


def _of_table(context: RuleContext, *kinds: str) -> Iterator[Action]:
    return (
        context.statement.of_kind(*kinds) if context.statement.kind == "ALTER TABLE" else iter(())
    )


@of_statement(
    name="drop-column",
    severity="error",
    contract=True,
    summary="drops {table}.{column}, which the running release may still name",
    why="Every query of the old code that names the column fails at once, until the last old "
    "process has ended; and a rollback of the release has nothing to return to.",
    instead=CONTRACT + 'op.drop_column("{table}", "{column}")',
    example='op.drop_column("orders", "note")',
    fields={"table": "orders", "column": "note"},
    reference="sql-altertable.html",
)
def drop_column(context: RuleContext) -> Iterator[Problem]:
    for action in _of_table(context, "DROP COLUMN"):
        known = context.before.column(context.target, action.name)
        if not (known and known.made and known.made.revision == context.now.revision):
            yield problem(context.target, column=action.name)


@of_statement(
    name="drop-table",
    severity="error",
    contract=True,
    summary="drops {table}, with its data",
    why="The old code fails at once, and the rows are gone.",
    instead=CONTRACT + 'op.drop_table("{table}")',
    example='op.drop_table("orders")',
    fields={"table": "orders"},
    reference="sql-droptable.html",
)
def drop_table(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind in ("DROP TABLE", "DROP FOREIGN TABLE"):
        for table in context.statement.targets:
            yield problem(table)


@of_statement(
    name="rename-column",
    severity="error",
    contract=True,
    summary="renames {table}.{column} to {new}, while the running release uses the old name",
    why="There is no moment at which old and new code both work.",
    instead=EXPAND,
    example='op.alter_column("orders", "note", new_column_name="remark")',
    fields={"table": "orders", "column": "note", "new": "remark"},
    reference="sql-altertable.html",
)
def rename_column(context: RuleContext) -> Iterator[Problem]:
    for action in _of_table(context, "RENAME COLUMN"):
        yield problem(context.target, column=action.name, new=action.new_name)


@of_statement(
    name="rename-table",
    severity="error",
    contract=True,
    summary="{table} gets another name or schema, while the running release uses the old one",
    why="There is no moment at which old and new code both work, unless the old name stays.",
    instead="""\
# in one transaction: the new name, and the old one as a view, which can be written to
op.rename_table("{table}", "new_name")
op.execute("CREATE VIEW {table} AS SELECT * FROM new_name")
# the view goes in a revision with `phase = "contract"`""",
    example='op.rename_table("orders", "purchases")',
    fields={"table": "orders"},
    reference="sql-altertable.html",
)
def rename_table(context: RuleContext) -> Iterator[Problem]:
    for _ in _of_table(context, "RENAME TO", "SET SCHEMA"):
        stays = any(s.kind == "CREATE VIEW" and context.target in s.targets for s in context.later)
        # ALTER TABLE also renames indexes, sequences and views.
        if not stays and context.target not in context.before.indexes:
            yield problem(context.target)
    if context.statement.kind == "ALTER SCHEMA":
        for _ in context.statement.of_kind("RENAME TO"):
            if not _made_here(context, "SCHEMA", context.target):
                yield problem(None, table=f"everything in {context.target.name}")


def _made_here(context: RuleContext, kind: str, name: Name) -> bool:
    made = context.before.objects.get((kind, name))
    return made is not None and made.revision == context.now.revision


@of_statement(
    name="required-column",
    severity="error",
    summary="{table}.{column} is NOT NULL and has no default",
    why="It fails if there are rows, and passes on an empty table; then the INSERTs of the old "
    "code, which do not know the column, fail.",
    instead="""\
op.add_column("{table}", sa.Column("{column}", ..., server_default="...", nullable=False))
# or nullable now; then update_in_batches, and see `--explain set-not-null-scan`""",
    example='op.add_column("orders", sa.Column("channel", sa.Text(), nullable=False))',
    fields={"table": "orders", "column": "channel"},
    reference="ddl-default.html",
)
def required_column(context: RuleContext) -> Iterator[Problem]:
    for action in _of_table(context, "ADD COLUMN"):
        column = action.column
        filled = column and (column.default or column.identity or column.generated)
        if column and column.not_null and not filled:
            yield problem(context.target, column=column.name)


NO_DEFAULT = """\
# when no release relies on it any more, in a revision with
phase = "contract"
op.alter_column("{table}", "{column}", server_default=None)
"""


@of_statement(
    name="drop-default",
    severity="error",
    contract=True,
    summary="{table}.{column} loses its default, on which INSERTs of the running release rely",
    why="SQLAlchemy leaves out columns with a server default. Without it the old code writes NULL: "
    "an error where the column is NOT NULL. `server_default=None` means DROP DEFAULT.",
    instead=NO_DEFAULT,
    example='op.alter_column("orders", "status", server_default=None)',
    fields={"table": "orders", "column": "status"},
    reference="ddl-default.html",
)
def drop_default(context: RuleContext) -> Iterator[Problem]:
    for action in _of_table(context, "DROP DEFAULT", "DROP IDENTITY", "DROP EXPRESSION"):
        known = context.before.column(context.target, action.name)
        nullable = known is not None and not known.not_null
        severity = "warning" if nullable else ""
        yield problem(context.target, column=action.name, severity=severity)


@of_statement(
    name="drop-not-null",
    severity="info",
    contract=True,
    summary="{table}.{column} may be NULL from now on",
    why="Old readers may meet a NULL that they do not expect, as soon as new code writes one.",
    instead="# ship what reads NULL before what writes it",
    example='op.alter_column("orders", "status", nullable=True)',
    fields={"table": "orders", "column": "status"},
    reference="ddl-constraints.html#DDL-CONSTRAINTS-NOT-NULL",
)
def drop_not_null(context: RuleContext) -> Iterator[Problem]:
    for action in _of_table(context, "DROP NOT NULL"):
        yield problem(context.target, column=action.name)


CALLED = ("VIEW", "MATERIALIZED VIEW", "FUNCTION", "SEQUENCE", "EXTENSION")


@of_statement(
    name="drop-view",
    severity="warning",
    contract=True,
    summary="{operation} {name}, which the running release may still call",
    why="A view, a function or a sequence is an interface, and an extension has many: old code "
    "calls it until its last process has ended.",
    instead='op.execute("CREATE VIEW {name}_v2 AS ...")  # a new name; drop the old one later',
    example='op.execute("DROP VIEW open_orders")',
    fields={"name": "open_orders", "operation": "drops"},
    reference="sql-dropview.html",
)
def drop_view(context: RuleContext) -> Iterator[Problem]:
    statement = context.statement
    operation, _, kind = statement.kind.partition(" ")
    if kind not in CALLED:
        return
    for name in statement.targets:
        known = (kind, name) in context.before.objects
        replaced = "OR REPLACE" in statement.flags and (known or not context.before.complete)
        renamed = any(statement.of_kind("RENAME TO", "RENAME COLUMN", "SET SCHEMA"))
        if (operation == "DROP" or replaced or renamed) and not _made_here(context, kind, name):
            what = "replaces" if replaced else f"{operation.lower()}s"
            yield problem(None, operation=what, name=str(name))


ACCESS = {"OWNER": "another owner", "TOGGLE": "row level security", "FORCE": "row level security"}


@of_statement(
    name="change-access",
    severity="warning",
    contract=True,
    summary="{operation}: changes at once what the running release may read and write",
    why="A service whose role does not own the tables, or no longer does, meets fewer rows than it "
    "has, without an error, or is denied; also where tests and CI connect as a superuser.",
    instead="""\
# 1. what gives: GRANT, CREATE POLICY; and try it as the role of the service
# 2. then this, in a revision of its own with
phase = "contract"
""",
    example='op.execute("REVOKE INSERT ON orders FROM shop")',
    fields={"operation": "REVOKE"},
    reference="ddl-priv.html",
)
def change_access(context: RuleContext) -> Iterator[Problem]:
    statement = context.statement
    if statement.kind == "REVOKE":
        yield problem(None, operation="REVOKE")
    if statement.kind == "DROP POLICY" and statement.table and not context.is_new(statement.table):
        yield problem(statement.table, operation=f"drops a policy of {statement.table}")
    for action in _of_table(context, *ACCESS):
        if not context.is_new(context.target):
            yield problem(context.target, operation=f"{ACCESS[action.kind]} of {context.target}")


# ---- Enums

ENUM = """\
# a text column with a CHECK, which can be changed in two revisions:
op.create_check_constraint(
    op.f("ck_t_c"), "t", "c IN ('a', 'b')", postgresql_not_valid=True
)
# the next revision
from slipway.operations import validate_constraint
validate_constraint("ck_t_c", "t")
# to add a value: ALTER TYPE ... ADD VALUE, when what reads it has been released
"""


@of_statement(
    name="change-enum",
    severity="error",
    summary="{operation} {type}, while the running release uses what was there",
    why="Old code sends and expects the old names. To remove a value, the column has to change its "
    "type, which rewrites the table.",
    instead=ENUM,
    example="""op.execute("ALTER TYPE mood RENAME VALUE 'sad' TO 'unhappy'")""",
    fields={"operation": "changes a name of", "type": "mood"},
    reference="sql-altertype.html",
)
def change_enum(context: RuleContext) -> Iterator[Problem]:
    statement = context.statement
    if statement.kind == "DROP TYPE":
        for name in statement.targets:
            if not _made_here(context, "TYPE", name):
                yield problem(None, contract=True, operation="drops", type=str(name))
    if statement.kind == "ALTER TYPE" and not _made_here(context, "TYPE", context.target):
        kinds = ("RENAME VALUE", "RENAME TO", "SET SCHEMA", "RENAME ATTRIBUTE", "DROP ATTRIBUTE")
        for _ in statement.of_kind(*kinds):
            yield problem(None, operation="changes a name of", type=str(context.target))


@of_statement(
    name="add-enum-value",
    severity="info",
    summary="{type} gets the value {value}, which the running release cannot read",
    why="sa.Enum raises LookupError for a value that it does not know.",
    instead="# release what knows the value first, then write it",
    example="""op.execute("ALTER TYPE mood ADD VALUE 'calm'")""",
    fields={"type": "mood", "value": "calm"},
    reference="sql-altertype.html",
)
def add_enum_value(context: RuleContext) -> Iterator[Problem]:
    if context.statement.kind == "ALTER TYPE" and not _made_here(context, "TYPE", context.target):
        for action in context.statement.of_kind("ADD VALUE"):
            yield problem(None, type=str(context.target), value=action.name)


@of_statement(
    name="enum-value-used-early",
    severity="error",
    summary="uses {value} in the transaction that adds it to {type}",
    why="PostgreSQL refuses it: unsafe use of new value of enum type.",
    instead="# one revision adds the value, the next uses it",
    example="""\
op.execute("ALTER TYPE mood ADD VALUE 'calm'")
op.execute("UPDATE customers SET mood = 'calm' WHERE id = 1")""",
    fields={"type": "mood", "value": "calm"},
    reference="sql-altertype.html",
)
def enum_value_used_early(context: RuleContext) -> Iterator[Problem]:
    if context.autocommit or context.statement.kind == "ALTER TYPE":
        return
    literals = context.statement.literals() if context.before.enum_values else ()
    for (type_, value), made in context.before.enum_values.items():
        is_fresh = made == context.now and not _made_here(context, "TYPE", type_)
        if is_fresh and value in literals and _may_use(context, type_):
            yield problem(None, type=str(type_), value=value)


def _may_use(context: RuleContext, type_: Name) -> bool:
    """Whether a column of this type is within the statement's reach, as far as that is known."""
    tables = [*context.statement.targets, *(change.table for change in context.statement.changes)]
    columns = [c for table in tables for c in context.before.table(table).columns.values()]
    columns_known = bool(columns) and context.statement.kind != "ALTER TABLE"
    return not columns_known or any(c.type.name.endswith(type_.name) for c in columns)
