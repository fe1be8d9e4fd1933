"""Which statements lock whole tables against reads or writes (PostgreSQL manual, 13.3 and ALTER
TABLE)."""

from slipway.guard.schema import Schema
from slipway.guard.sql.model import Name, Statement
from slipway.locks import ACCESS_EXCLUSIVE, SHARE_ROW_EXCLUSIVE

# SHARE UPDATE EXCLUSIVE or less: reads and writes go on.
LIGHT_ACTIONS = {
    "VALIDATE CONSTRAINT",
    "SET STATISTICS",
    "SET (",
    "RESET",
    "CLUSTER",
    "ATTACH PARTITION",
}
SHARE_ROW_EXCLUSIVE_ACTIONS = {"TOGGLE TRIGGER", "ADD FOREIGN KEY"}
ON_TABLE = ("DROP TRIGGER", "CREATE POLICY", "DROP POLICY", "ALTER POLICY", "CREATE RULE")


def strong_locks(statement: Statement, before: Schema) -> dict[Name, str]:
    """The tables that a statement locks so that writes wait, with the mode; shared locks and those
    on the other side of a foreign key aside."""
    kind, table = statement.kind, statement.table
    if kind == "ALTER TABLE":
        return _alter_table(statement)
    if kind in ("DROP TABLE", "TRUNCATE", "LOCK"):
        return dict.fromkeys(statement.targets, ACCESS_EXCLUSIVE)
    if kind in ("CLUSTER", "VACUUM") and (kind == "CLUSTER" or "FULL" in statement.flags):
        return dict.fromkeys(statement.targets, ACCESS_EXCLUSIVE)
    if kind == "CREATE TRIGGER" and table:
        return {table: SHARE_ROW_EXCLUSIVE}
    if (kind in ON_TABLE or kind == "CREATE TABLE") and table:
        return {table: ACCESS_EXCLUSIVE}
    if kind == "DROP INDEX" and "CONCURRENTLY" not in statement.flags:
        known = [before.indexes[name] for name in statement.targets if name in before.indexes]
        return {index.table: ACCESS_EXCLUSIVE for index in known}
    return {}


def _alter_table(statement: Statement) -> dict[Name, str]:
    modes = set()
    locks = {}
    for action in statement.actions:
        kind = action.kind
        if kind == "ADD CONSTRAINT" and action.constraint:
            kind = f"ADD {action.constraint.kind}"
        if kind == "ATTACH PARTITION" and action.target:
            locks[action.target] = ACCESS_EXCLUSIVE
        if kind in SHARE_ROW_EXCLUSIVE_ACTIONS:
            modes.add(SHARE_ROW_EXCLUSIVE)
        elif kind not in LIGHT_ACTIONS and not {"CONCURRENTLY", "FINALIZE"} & action.flags:
            modes.add(ACCESS_EXCLUSIVE)
    if modes:
        locks[statement.targets[0]] = min(modes)
    return locks
