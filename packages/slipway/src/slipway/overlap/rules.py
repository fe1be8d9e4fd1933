"""What may be wrong where two versions share a schema."""

from slipway.report import Rule

EXPAND = """\
Let both versions work on the schema, and take away the old in a later release:

1. expand: add what is new, nullable or with a default; keep what is old
2. switch: release a version that no longer uses what is old
3. contract: drop it, once that version runs everywhere
"""
RULES = {
    rule.name: rule
    for rule in (
        Rule(
            name="old-version-fails",
            severity="error",
            summary="The version that is running sends what the new schema refuses",
            why=(
                "While a release rolls out, both versions are at work, and after a rollback the "
                "old one is alone with the new schema: its requests fail until it is replaced."
            ),
            instead=EXPAND,
            example='op.drop_column("orders", "note")',
            reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
        ),
        Rule(
            name="narrower-values",
            severity="warning",
            summary="The new schema refuses values that the models of the running version allow",
            why="Whether that version sends such values is not known: they were made up to try.",
            instead="A release that keeps to the new rule comes before the rule.\n",
            example='op.create_check_constraint("ck_orders_amount", "orders", "amount > 0")',
            reference="ddl-constraints.html",
        ),
        Rule(
            name="old-test-fails",
            severity="error",
            summary="A test of the version that is running fails on the new schema",
            why="What its tests show, its users need: it no longer holds during the rollout.",
            instead=EXPAND,
            example='op.drop_column("orders", "note")',
            reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
        ),
        Rule(
            name="stale-plan",
            severity="error",
            summary="Statements that the running processes have prepared fail once",
            why=(
                "PostgreSQL refuses a prepared statement whose result has another type than when "
                "it was prepared. One request of each process fails, and then it prepares anew; "
                "behind PgBouncer, which shares prepared statements, they fail until it is started "
                "anew or told to RECONNECT."
            ),
            instead="""\
Leave the type of a column that is read as it is: add a column of the new type, fill it, switch
the reads in a release, and drop the old one in a later release. Or deploy first with
?prepared_statement_cache_size=0 in DATABASE_URL, for the price of a round trip per statement.
Where one error of each process is no loss, pyproject.toml may say so:

[tool.slipway.severities]
stale-plan = "warning"
""",
            example='op.alter_column("orders", "note", type_=sa.Text())',
            reference="sql-prepare.html",
        ),
        Rule(
            name="upgrade-fails",
            severity="error",
            summary="A revision cannot be applied where there are rows and requests",
            why="The deployment stops at it.",
            instead="Make it work on a table that is filled and in use.\n",
            example="""\
# some rows have NULL there
op.alter_column("orders", "amount", nullable=False)
""",
            reference="ddl-constraints.html",
        ),
    )
}
