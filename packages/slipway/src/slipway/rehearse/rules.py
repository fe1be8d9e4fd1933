"""What a rehearsal looks for: facts that PostgreSQL and the service at work have shown."""

from slipway.report import Rule

RULES: dict[str, Rule] = {}


def _declare(name: str, severity: str, summary: str, why: str, instead: str) -> Rule:
    rule = Rule(name=name, severity=severity, summary=summary, why=why, instead=instead)
    RULES[name] = rule
    return rule


# ---- Statements

REWRITTEN = _declare(
    "rewritten-under-lock",
    "error",
    "PostgreSQL wrote {table} anew under {mode}, which blocks {blocked}",
    "Every row is written again, with all indexes. That takes as long as the table is large, and "
    "everybody waits for it.",
    """\
# a new column beside the old one, written by the application or a trigger, then
# a revision of its own:
from slipway.operations import update_in_batches
update_in_batches("{table}", "new = old", where="new IS NULL")""",
)
SCANNED = _declare(
    "scanned-under-lock",
    "error",
    "PostgreSQL read {rows} of {scanned} while {table} was locked {mode}, which blocks {blocked}",
    "It takes as long as the table is large, and everybody waits for it.",
    """\
# a constraint: NOT VALID in this revision, in the next
from slipway.operations import validate_constraint
validate_constraint("name", "{scanned}")
# an index, alone in its revision:
from slipway.operations import create_index_concurrently
# data: in a revision of its own, without the lock of another statement
from slipway.operations import update_in_batches""",
)
CHAIN = _declare(
    "locked-in-chain",
    "warning",
    "{table} was locked {mode} while the transaction still held {held}",
    "While it queues for the second table, everybody waits for the first. Two such transactions in "
    "opposite order are a deadlock.",
    "# one revision for {held}, another for {table}",
)

# ---- What is left behind

INVALID_INDEX = _declare(
    "invalid-index",
    "error",
    "index {name} of {table} is INVALID",
    "A concurrent build that fails leaves it behind: every write maintains it, no query uses it, "
    "and CREATE INDEX IF NOT EXISTS takes it for the one that is wanted.",
    """\
# a revision of its own; a leftover is dropped first
from slipway.operations import create_index_concurrently
create_index_concurrently("{name}", "{table}", [...])""",
)
NOT_VALIDATED = _declare(
    "constraint-not-validated",
    "info",
    "constraint {name} of {table} is NOT VALID, and no later revision validates it",
    "New rows are checked, the old ones never were: queries cannot rely on it, and a dump of the "
    "database may not be restorable with it.",
    """\
# the next revision:
from slipway.operations import validate_constraint
validate_constraint("{name}", "{table}")""",
)
UNINDEXED = _declare(
    "foreign-key-without-index",
    "warning",
    "no index begins with the columns of foreign key {name} of {table}",
    "Each DELETE in the table that it refers to reads all of {table} to find out who refers to the "
    "row, and holds its locks meanwhile.",
    """\
# a revision of its own:
from slipway.operations import create_index_concurrently, drop_index_concurrently
create_index_concurrently("ix_{name}", "{table}", [...])""",
)

# ---- There and back

UPGRADE_FAILS = _declare(
    "upgrade-fails",
    "error",
    "the upgrade fails: {error}",
    "So would the deployment: it stops here, with what was committed before.",
    "# what the message says; a value that rows lack is filled in by a revision before this one",
)
DOWNGRADE_FAILS = _declare(
    "downgrade-fails",
    "warning",
    "the downgrade fails: {error}",
    "When a release has to be taken back in a hurry, this is found out then.",
    """\
def downgrade() -> None:
    ...  # what undoes upgrade(), in the opposite order; or why that cannot be:
    raise NotImplementedError("the data is gone: restore it from a backup")""",
)
DOWNGRADE_DIFFERS = _declare(
    "downgrade-differs",
    "warning",
    "the downgrade leaves another schema than there was before: {difference}",
    "The next upgrade may then find what it wants to make, or miss what it wants to change.",
    """\
def downgrade() -> None:
    ...  # everything that upgrade() does, in the opposite order""",
)
UPGRADE_DIFFERS = _declare(
    "upgrade-differs",
    "warning",
    "upgraded again after a downgrade, the schema is another one: {difference}",
    "Databases of which one was taken back once are no longer the same.",
    """\
def downgrade() -> None:
    ...  # everything that upgrade() does, in the opposite order""",
)

# ---- The service at work

FAILED = _declare(
    "request-failed",
    "error",
    "{count} of {table} failed: {error}",
    "What fails here is an error that users see.",
    "# what the version that runs still uses goes in a later revision, after its release",
)
STALE_PLAN = _declare(
    "stale-plan",
    "warning",
    "{count} of {table} failed once with a plan from before the change",
    "asyncpg keeps prepared statements, and PostgreSQL refuses them once when the columns of their "
    "result have changed.",
    "# nothing, if a client that gets an error tries again; or a new column beside the old one",
)
STALLED = _declare(
    "request-stalled",
    "error",
    "{kind} of {table} waited for {seconds} s, while {holder}",
    "Longer than the lock timeout and what the machine itself was busy for, measured by requests "
    "that touch no table.",
    "# what the statement holds its lock for goes in a revision of its own: see the findings there",
)
