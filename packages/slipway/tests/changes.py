"""Model changes, each as the models before and after it: one for each kind that a service meets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# expand: the version that runs goes on with all its models have.
# contract: it must have stopped using what goes, so both versions use what both have.
Kind = Literal["expand", "contract"]
# applied: as it is written.
# author must act: only the author knows what to do, so a TODO says it; nobody is harmed.
# refused: the rows forbid it, which must be said and leave nothing behind.
Expect = Literal["applied", "author must act", "refused"]


@dataclass(frozen=True)
class Change:
    name: str
    before: str
    after: str
    kind: Kind = "expand"
    expect: Expect = "applied"
    # Values of "table.column" that take turns, where those that fit the type are not enough.
    values: Mapping[str, Sequence[object]] = field(default_factory=dict)
    # The same, for the rows that are there before and not for those that the service writes.
    seeded: Mapping[str, Sequence[object]] = field(default_factory=dict)
    # Changes the type of a column, so that each process has one stale plan, whatever the lock.
    changes_type: bool = False
    # Words that the generated text must have for its reader.
    says: tuple[str, ...] = ()
    # Reverting and applying again does not lead to exactly where it was, for this reason.
    lasting: str = ""

    @property
    def slug(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.name).split())


def model(table: str, *lines: str, key: str = "id") -> str:
    """A model with an id and these lines."""
    keys = {
        "id": ["id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)"],
        "uuid": ["id: Mapped[uuid.UUID] = mapped_column(primary_key=True)"],
        "": [],
    }
    name = "".join(part.title() for part in table.split("_"))
    body = [f'__tablename__ = "{table}"', *keys[key], *lines]
    return f"\nclass {name}(Base):\n" + "".join(f"    {line}\n" for line in body)


NAME = "name: Mapped[str] = mapped_column(sa.String(100))"
AMOUNT = "amount: Mapped[int]"
NOTE = "note: Mapped[str | None]"


def items(*lines: str) -> str:
    return model("items", NAME, AMOUNT, NOTE, *lines)


def teams(*lines: str) -> str:
    return model("teams", "title: Mapped[str]", *lines)


def column(name: str, kind: str, *arguments: str) -> str:
    return f"{name}: Mapped[{kind}] = mapped_column({', '.join(arguments)})"


def arguments(*things: str) -> str:
    return f"__table_args__ = ({', '.join(things)},)"


STATE = 'sa.Enum("open", "done", name="state")'
STATE_WITH_LATE = 'sa.Enum("open", "done", "late", name="state")'
TEAM = column("team_id", "int | None", "sa.BigInteger")
TEAM_KEY = column("team_id", "int | None", 'sa.ForeignKey("teams.id")')
TEAM_CASCADE = column("team_id", "int | None", 'sa.ForeignKey("teams.id", ondelete="CASCADE")')
INDEX = "sa.Index('ix_items_note', 'note')"
LONG = "a_table_with_a_name_that_leaves_hardly_any_room_for_more"
LONG_COLUMN = "a_column_whose_name_is_as_long_as_that_of_its_table_is"

COLUMNS = [
    Change("add a nullable column", items(), items("email: Mapped[str | None]")),
    Change(
        "add a column with a constant default",
        items(),
        items(column("active", "bool", "server_default=sa.true()")),
    ),
    Change(
        "add a column with default now()",
        items(),
        items(column("created_at", "datetime", "server_default=sa.func.now()")),
    ),
    Change(
        "add a nullable column with a volatile default",
        items(),
        items(column("token", "uuid.UUID | None", "server_default=sa.func.gen_random_uuid()")),
    ),
    Change(
        "add a not null column with a volatile default",
        items(),
        items(column("seen_at", "datetime", "server_default=sa.func.clock_timestamp()")),
    ),
    Change(
        "add a not null column without a default",
        items(),
        items("email: Mapped[str]"),
        expect="author must act",
    ),
    Change("add a json column", items(), items(column("extra", "dict | None", "postgresql.JSONB"))),
    Change(
        "add an identity column",
        items(),
        items(column("number", "int", "sa.BigInteger", "sa.Identity()")),
        expect="author must act",
    ),
    Change(
        "add a stored computed column",
        items(),
        items(column("double", "int | None", 'sa.Computed("amount * 2", persisted=True)')),
        expect="author must act",
    ),
    Change(
        "add two columns, one indexed",
        items(),
        items("email: Mapped[str | None]", column("code", "str | None", "index=True")),
    ),
    Change(
        "a column becomes nullable", items(), items().replace(AMOUNT, "amount: Mapped[int | None]")
    ),
    Change(
        "set a server default",
        items(),
        items().replace(AMOUNT, column("amount", "int", 'server_default="0"')),
    ),
    Change(
        "change a server default",
        items().replace(AMOUNT, column("amount", "int", 'server_default="0"')),
        items().replace(AMOUNT, column("amount", "int", 'server_default="1"')),
    ),
    Change(
        "remove a server default",
        items().replace(AMOUNT, column("amount", "int", 'server_default="0"')),
        items(),
        kind="contract",
    ),
    Change(
        "comment on a table and a column",
        items(),
        items('__table_args__ = {"comment": "What is sold"}').replace(
            NOTE, column("note", "str | None", 'comment="100% of it isn\'t read"')
        ),
    ),
]

NOT_NULL = [
    Change("a column becomes not null", items(), items().replace(NOTE, "note: Mapped[str]")),
    Change(
        "a column becomes not null and gets a default",
        items(),
        items().replace(NOTE, column("note", "str", 'server_default="none"')),
    ),
    Change(
        "two columns become not null",
        items("code: Mapped[str | None]"),
        items("code: Mapped[str]").replace(NOTE, "note: Mapped[str]"),
    ),
    Change(
        "a column with nulls becomes not null",
        items(),
        items().replace(NOTE, "note: Mapped[str]"),
        seeded={"items.note": (None, "text")},
        expect="refused",
    ),
]

INDEXES = [
    Change(
        "add an index", items(), items().replace(NOTE, column("note", "str | None", "index=True"))
    ),
    Change("add a unique index", items(), items(arguments("sa.Index(None, 'name', unique=True)"))),
    Change(
        "add an index on two columns", items(), items(arguments("sa.Index(None, 'name', 'amount')"))
    ),
    Change(
        "add a partial index",
        items(),
        items(
            arguments("sa.Index('ix_items_due', 'note', postgresql_where=sa.text('amount > 10'))")
        ),
    ),
    Change(
        "add an index on an expression",
        items(),
        items(arguments("sa.Index('ix_items_lower_name', sa.text('lower(name)'))")),
    ),
    Change(
        "add a gin index",
        items(column("extra", "dict | None", "postgresql.JSONB")),
        items(
            column("extra", "dict | None", "postgresql.JSONB"),
            arguments("sa.Index(None, 'extra', postgresql_using='gin')"),
        ),
    ),
    Change(
        "add a descending index",
        items(),
        items(arguments("sa.Index('ix_items_amount', sa.text('amount DESC'))")),
    ),
    Change(
        "add an index that includes a column",
        items(),
        items(arguments("sa.Index(None, 'amount', postgresql_include=['note'])")),
    ),
    Change(
        "add two indexes",
        items(),
        items(arguments(INDEX, "sa.Index(None, 'amount')")),
    ),
    Change("drop an index", items(arguments(INDEX)), items()),
    Change(
        "an index changes under its name",
        items(arguments(INDEX)),
        items(arguments(INDEX.replace("'note'", "'note', 'amount'"))),
    ),
]

FOREIGN_KEYS = [
    Change("add a nullable foreign key column", teams() + items(), teams() + items(TEAM_KEY)),
    Change(
        "add a foreign key column with ondelete and an index",
        teams() + items(),
        teams()
        + items(
            column(
                "team_id",
                "int | None",
                'sa.ForeignKey("teams.id", ondelete="SET NULL")',
                "index=True",
            )
        ),
    ),
    Change("add a foreign key column to a new table", items(), teams() + items(TEAM_KEY)),
    Change(
        "add a foreign key column to its own table",
        items(),
        items(column("parent_id", "int | None", 'sa.ForeignKey("items.id")')),
    ),
    Change(
        "add a foreign key column with a default",
        teams() + items(),
        teams()
        + items(column("team_id", "int", 'sa.ForeignKey("teams.id")', 'server_default="1"')),
    ),
    Change("add a foreign key", teams() + items(TEAM), teams() + items(TEAM_KEY)),
    Change(
        "add a foreign key that rows violate",
        teams() + items(TEAM),
        teams() + items(TEAM_KEY),
        seeded={"items.team_id": (1, 2, 1_000_000_000)},
        expect="refused",
    ),
    Change(
        "add a composite foreign key",
        model("teams", "tenant: Mapped[int]", arguments("sa.UniqueConstraint('tenant', 'id')"))
        + items(TEAM, "tenant: Mapped[int]"),
        model("teams", "tenant: Mapped[int]", arguments("sa.UniqueConstraint('tenant', 'id')"))
        + items(
            TEAM,
            "tenant: Mapped[int]",
            arguments(
                "sa.ForeignKeyConstraint(['tenant', 'team_id'], ['teams.tenant', 'teams.id'])"
            ),
        ),
    ),
    Change(
        "add two foreign keys to one table",
        teams() + items(TEAM, column("owner_id", "int | None", "sa.BigInteger")),
        teams() + items(TEAM_KEY, column("owner_id", "int | None", 'sa.ForeignKey("teams.id")')),
    ),
    Change("drop a foreign key", teams() + items(TEAM_KEY), teams() + items(TEAM)),
    Change(
        "change what a foreign key does on delete",
        teams() + items(TEAM_KEY),
        teams() + items(TEAM_CASCADE),
    ),
]

CONSTRAINTS = [
    Change(
        "add a check",
        items(),
        items(arguments("sa.CheckConstraint('amount > 0', name='positive')")),
    ),
    Change(
        "add a column and a check on it",
        items(),
        items(
            "price: Mapped[Decimal | None]",
            arguments("sa.CheckConstraint('price >= 0', name='price')"),
        ),
    ),
    Change(
        "replace a check",
        items(arguments("sa.CheckConstraint('amount > 0', name='positive')")),
        items(arguments("sa.CheckConstraint('amount >= 0', name='not_negative')")),
    ),
    Change(
        "a check changes under its name",
        items(arguments("sa.CheckConstraint('amount > 0', name='positive')")),
        items(arguments("sa.CheckConstraint('amount >= 1', name='positive')")),
    ),
    Change(
        "drop a check",
        items(arguments("sa.CheckConstraint('amount > 0', name='positive')")),
        items(),
    ),
    Change(
        "add a unique constraint",
        items(),
        items().replace(NAME, column("name", "str", "sa.String(100)", "unique=True")),
    ),
    Change(
        "add a unique constraint that rows violate",
        items(),
        items().replace(NAME, column("name", "str", "sa.String(100)", "unique=True")),
        seeded={"items.name": ("twice",)},
        expect="refused",
    ),
    Change(
        "add a unique constraint on two columns",
        items(),
        items(arguments("sa.UniqueConstraint('name', 'amount')")),
    ),
    Change("add a unique column", items(), items(column("code", "str | None", "unique=True"))),
    Change(
        "add a unique constraint with nulls not distinct",
        items(),
        items(arguments("sa.UniqueConstraint('note', postgresql_nulls_not_distinct=True)")),
    ),
    Change(
        "add a deferrable unique constraint",
        items(),
        items(arguments("sa.UniqueConstraint('amount', deferrable=True, initially='DEFERRED')")),
    ),
    Change("drop a unique constraint", items(arguments("sa.UniqueConstraint('name')")), items()),
]

ENUMS = [
    Change("add an enum column", items(), items(column("state", "str | None", STATE))),
    Change(
        "add an enum column with a default",
        items(),
        items(column("state", "str", STATE, 'server_default="open"')),
    ),
    Change(
        "add a table with an enum",
        items(),
        items() + model("orders", column("state", "str", STATE)),
    ),
    Change(
        "add an array of an enum",
        items(),
        items(column("states", "list[str] | None", f"postgresql.ARRAY({STATE})")),
    ),
    Change(
        "add an enum value",
        items(column("state", "str", STATE)),
        items(column("state", "str", STATE_WITH_LATE)),
        lasting="a value of an enum cannot be removed",
    ),
    Change(
        "add an enum value and make it the default",
        items(column("state", "str", STATE, 'server_default="open"')),
        items(column("state", "str", STATE_WITH_LATE, 'server_default="late"')),
        values={"items.state": ("open", "done")},
        lasting="a value of an enum cannot be removed",
    ),
    Change(
        "drop an enum column", items(column("state", "str | None", STATE)), items(), kind="contract"
    ),
]

TYPES = [
    Change(
        "widen a varchar",
        items(),
        items().replace("String(100)", "String(200)"),
        changes_type=True,
    ),
    Change(
        "a varchar becomes text", items(), items().replace("String(100)", "Text"), changes_type=True
    ),
    Change(
        "narrow a varchar",
        items(),
        items().replace("String(100)", "String(50)"),
        kind="contract",
        expect="author must act",
        changes_type=True,
    ),
    Change(
        "an int becomes a bigint",
        items(),
        items().replace(AMOUNT, column("amount", "int", "sa.BigInteger")),
        kind="contract",
        expect="author must act",
        changes_type=True,
    ),
    Change(
        "raise the precision of a numeric",
        items(column("price", "Decimal", "sa.Numeric(8, 2)")),
        items(column("price", "Decimal", "sa.Numeric(10, 2)")),
        changes_type=True,
    ),
    Change(
        "a timestamp gets a time zone",
        items(column("at", "datetime", "sa.DateTime()")),
        items(column("at", "datetime", "sa.DateTime(timezone=True)")),
        kind="contract",
        expect="author must act",
        changes_type=True,
    ),
    Change(
        "a text becomes an enum",
        items(column("state", "str")),
        items(column("state", "str", STATE)),
        values={"items.state": ("open", "done")},
        kind="contract",
        expect="author must act",
    ),
    Change(
        "widen a varchar and set a default",
        items(),
        items().replace(NAME, column("name", "str", "sa.String(200)", 'server_default="none"')),
        changes_type=True,
    ),
]

DROPS = [
    Change("drop a column", items("old: Mapped[str | None]"), items(), kind="contract"),
    Change(
        "drop a column with an index",
        items(column("old", "str | None", "index=True")),
        items(),
        kind="contract",
    ),
    Change(
        "drop a column with a foreign key",
        teams() + items(TEAM_KEY),
        teams() + items(),
        kind="contract",
    ),
    Change(
        "drop a not null column",
        items("old: Mapped[str]"),
        items(),
        kind="contract",
        lasting="the rows have lost what the column must have",
    ),
    Change(
        "drop a table with indexes",
        items() + model("orders", column("note", "str", "index=True")),
        items(),
        kind="contract",
    ),
    Change("drop a table with a foreign key", teams() + items(TEAM_KEY), teams(), kind="contract"),
    Change(
        "drop a table that another refers to", teams() + items(TEAM_KEY), items(), kind="contract"
    ),
    Change(
        "rename a column",
        items(),
        items().replace("note:", "remark:"),
        kind="contract",
        says=("rename",),
    ),
    Change(
        "rename a table",
        items() + teams(),
        items() + teams().replace('"teams"', '"groups"'),
        kind="contract",
        says=("rename",),
    ),
]

TABLES = [
    Change(
        "add a table with an index and a foreign key",
        items(),
        items()
        + model(
            "orders",
            column("item_id", "int", 'sa.ForeignKey("items.id")', "index=True"),
            column("code", "str", "unique=True"),
        ),
    ),
    Change(
        "add a table with foreign keys to two tables",
        teams() + items(),
        teams()
        + items()
        + model(
            "orders",
            column("item_id", "int", 'sa.ForeignKey("items.id")'),
            column("team_id", "int", 'sa.ForeignKey("teams.id")'),
        ),
    ),
    Change(
        "add a many-to-many table",
        teams() + items(),
        teams()
        + items()
        + model(
            "team_items",
            column("item_id", "int", 'sa.ForeignKey("items.id")', "primary_key=True"),
            column("team_id", "int", 'sa.ForeignKey("teams.id")', "primary_key=True"),
            key="",
        ),
    ),
    Change("add two tables at once", items(), items() + teams() + model("orders", NAME)),
    Change(
        "change a many-to-many table",
        teams()
        + items()
        + model(
            "team_items",
            column("item_id", "int", 'sa.ForeignKey("items.id")', "primary_key=True"),
            column("team_id", "int", 'sa.ForeignKey("teams.id")', "primary_key=True"),
            key="",
        ),
        teams()
        + items()
        + model(
            "team_items",
            column("item_id", "int", 'sa.ForeignKey("items.id")', "primary_key=True"),
            column("team_id", "int", 'sa.ForeignKey("teams.id")', "primary_key=True", "index=True"),
            "role: Mapped[str | None]",
            key="",
        ),
    ),
    Change(
        "a table with uuid keys gets a child and a column",
        model("accounts", NAME, key="uuid"),
        model("accounts", NAME, "plan: Mapped[str | None]", key="uuid")
        + model("invoices", column("account_id", "uuid.UUID", 'sa.ForeignKey("accounts.id")')),
    ),
    Change(
        "change two tables at once",
        teams() + items(),
        teams("code: Mapped[str | None]") + items("code: Mapped[str | None]"),
    ),
]

AUDIT = '{"schema": "audit"}'
NAMES = [
    Change(
        "change a table in another schema",
        model("events", NAME, NOTE, f"__table_args__ = {AUDIT}"),
        model(
            "events",
            NAME,
            column("note", "str", "index=True"),
            column("state", "str | None", STATE.replace("name=", 'schema="audit", name=')),
            "__table_args__ = (sa.CheckConstraint(\"name <> ''\", name='name'), " + AUDIT + ")",
        ),
    ),
    Change(
        "add a table in another schema",
        items(),
        items()
        + model(
            "events",
            column("item_id", "int", 'sa.ForeignKey("items.id")', "index=True"),
            f"__table_args__ = {AUDIT}",
        ),
    ),
    Change(
        "names that need quotes",
        model("order", column("Größe", "int | None"), NAME),
        model(
            "order",
            column("Größe", "int", "index=True"),
            column("name", "str", "sa.String(100)", "unique=True"),
            column("select", "int | None", 'sa.ForeignKey("order.id")'),
            arguments("""sa.CheckConstraint('"Größe" > 0', name="Größe")"""),
        ),
    ),
    Change(
        "names that are too long",
        model(LONG, column(LONG_COLUMN, "str | None"), AMOUNT),
        model(
            LONG,
            column(LONG_COLUMN, "str", "index=True"),
            column("amount", "int", "unique=True"),
            column("parent_id", "int | None", f'sa.ForeignKey("{LONG}.id")', "index=True"),
            arguments("sa.CheckConstraint('amount > 0', name='positive')"),
        ),
    ),
]

COMBINATIONS = [
    Change(
        "add team to users",
        model("users", NAME, NOTE, "old: Mapped[str | None]", column("email", "str | None")),
        teams(column("plan", "str", STATE.replace("state", "plan")))
        + model(
            "users",
            column("name", "str", "sa.String(100)", "unique=True"),
            "note: Mapped[str]",
            column("email", "str | None", "index=True"),
            column("team_id", "int | None", 'sa.ForeignKey("teams.id")', "index=True"),
            arguments("sa.CheckConstraint(\"name <> ''\", name='name')"),
        ),
        kind="contract",
    ),
    Change(
        "everything on one column",
        teams() + items(TEAM),
        teams()
        + items(
            column(
                "team_id",
                "int",
                'sa.ForeignKey("teams.id", ondelete="CASCADE")',
                "index=True",
                'server_default="1"',
                'comment="Who owns it"',
            ),
            arguments("sa.CheckConstraint('team_id > 0', name='team')"),
        ),
        values={"items.team_id": (1, 2, 3)},
    ),
    Change(
        "changes of two tables, with a new one between",
        teams() + items(TEAM, column("state", "str", STATE)),
        teams(column("plan", "str", 'server_default="free"'))
        + model("projects", column("team_id", "int", 'sa.ForeignKey("teams.id")', "index=True"))
        + items(
            TEAM_KEY,
            column("state", "str", STATE_WITH_LATE),
            column("project_id", "int | None", 'sa.ForeignKey("projects.id")', "index=True"),
        ).replace(NOTE, "note: Mapped[str]"),
        lasting="a value of an enum cannot be removed",
    ),
]

CHANGES = [
    *COLUMNS,
    *NOT_NULL,
    *INDEXES,
    *FOREIGN_KEYS,
    *CONSTRAINTS,
    *ENUMS,
    *TYPES,
    *DROPS,
    *TABLES,
    *NAMES,
    *COMBINATIONS,
]
