"""Rules about two versions that share a schema."""

from slipway.report import Rule

# Names a database with the schema to come: tests/conftest.py gives the tests copies of it.
VARIABLE = "TEST_DATABASE_TEMPLATE"
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
            summary="The running version sends statements that the new schema refuses",
            why=(
                "During a rollout both versions run, and after a rollback the old one runs alone "
                "on the new schema: its requests fail until it is replaced."
            ),
            instead=EXPAND,
            example='op.drop_column("orders", "note")',
            reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
        ),
        Rule(
            name="narrower-values",
            severity="warning",
            summary="The new schema refuses values that the models of the running version allow",
            why="It is unknown whether that version sends such values: they were made up.",
            instead="Release a version that keeps to the new rule before you add the rule.\n",
            example='op.create_check_constraint("ck_orders_amount", "orders", "amount > 0")',
            reference="ddl-constraints.html",
        ),
        Rule(
            name="old-test-fails",
            severity="error",
            summary="A test of the running version fails on the new schema",
            why="What the test shows does not work for users during the rollout.",
            instead=EXPAND,
            example='op.drop_column("orders", "note")',
            reference="https://alembic.sqlalchemy.org/en/latest/tutorial.html",
        ),
        Rule(
            name="stale-plan",
            severity="error",
            summary="Statements that the running processes have prepared fail once",
            why=(
                "PostgreSQL refuses a prepared statement whose result types have changed since it "
                "was prepared. One request of each process fails, and then the statement is "
                "prepared again. Behind PgBouncer, which shares prepared statements, requests fail "
                "until PgBouncer is restarted or gets the command RECONNECT. Drivers that prepare "
                "nothing (psycopg2, psycopg with prepare_threshold=None) are not affected."
            ),
            instead="""\
Do not change the type of a column that is read: add a column of the new type, fill it, switch
the reads in a release, and drop the old column in a later release. Or first deploy with prepared
statements off (asyncpg: ?prepared_statement_cache_size=0 in the URL), which costs a round trip per
statement. If one error in each process does not matter, pyproject.toml may say so:

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
            instead="Make it work on a table that has rows and is in use: try slipway rehearse.\n",
            example="""\
# some rows have NULL there
op.alter_column("orders", "amount", nullable=False)
""",
            reference="ddl-constraints.html",
        ),
    )
}
