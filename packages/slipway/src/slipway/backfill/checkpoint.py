"""Where a backfill stopped, saved by each batch in its own transaction."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

from slipway.backfill.batches import Position
from slipway.backfill.definition import Backfill, BackfillError
from slipway.queries import BACKFILL_PROGRESS


@dataclass(frozen=True)
class Checkpoint:
    """The key up to which all batches are done, and the rows they scanned and changed."""

    after: Position | None = None
    seen: int = 0
    changed: int = 0


def read(connection: Connection, name: str, backfill: Backfill) -> Checkpoint:
    """Read where an earlier run stopped; the start if it finished or its definition differed."""
    if connection.scalar(text(f"SELECT to_regclass('{BACKFILL_PROGRESS}')::text")) is None:
        return Checkpoint()
    row = connection.execute(
        text(READ), {"name": name, "definition": _definition(backfill)}
    ).one_or_none()
    if row is None:
        return Checkpoint()
    return Checkpoint(tuple(row.after) if row.after else None, row.seen, row.changed)


def start(connection: Connection, name: str, backfill: Backfill) -> Checkpoint:
    """Save that a run continues where the last one stopped, and return where that is."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext(:table))"), {"table": BACKFILL_PROGRESS}
    )
    connection.execute(text(CREATE))
    checkpoint = read(connection, name, backfill)
    fields = {"name": name, "definition": _definition(backfill), **_fields(checkpoint)}
    connection.execute(text(START), fields)
    return checkpoint


def save(connection: Connection, name: str, before: Checkpoint, after: Checkpoint) -> None:
    """Save that a batch is done, within its transaction.

    Raises:
        BackfillError: another process has saved something since.
    """
    fields = {f"before_{field}": value for field, value in _fields(before).items()}
    saved = connection.execute(text(SAVE), {"name": name, **fields, **_fields(after)})
    if saved.rowcount != 1:
        raise BackfillError(f"Another process runs {name} too; neither has changed a row twice")


def finish(connection: Connection, name: str) -> None:
    connection.execute(text(FINISH), {"name": name})


def _fields(checkpoint: Checkpoint) -> dict[str, object]:
    return {**asdict(checkpoint), "after": list(checkpoint.after) if checkpoint.after else None}


def _definition(backfill: Backfill) -> str:
    """What must be the same for a run to continue where the last one stopped."""
    change = backfill.change
    sql = change if isinstance(change, str) else f"{change.__module__}.{change.__qualname__}"
    return f"{backfill.table}: {sql} WHERE {backfill.where}"


CREATE = f"""
CREATE TABLE IF NOT EXISTS {BACKFILL_PROGRESS} (
    name text PRIMARY KEY,
    definition text NOT NULL,
    after text[],
    seen bigint NOT NULL,
    changed bigint NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    saved_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
)
"""
READ = f"""
SELECT after, seen, changed FROM {BACKFILL_PROGRESS}
WHERE name = :name AND definition = :definition AND finished_at IS NULL
"""
START = f"""
INSERT INTO {BACKFILL_PROGRESS} AS old (name, definition, after, seen, changed)
VALUES (:name, :definition, CAST(:after AS text[]), :seen, :changed)
ON CONFLICT (name) DO UPDATE SET (definition, after, seen, changed, saved_at, began_at, finished_at)
= (excluded.definition, excluded.after, excluded.seen, excluded.changed, now(),
   CASE WHEN excluded.seen > 0 THEN old.began_at ELSE now() END, NULL)
"""
SAVE = f"""
UPDATE {BACKFILL_PROGRESS}
SET (after, seen, changed, saved_at) = (CAST(:after AS text[]), :seen, :changed, now())
WHERE name = :name AND after IS NOT DISTINCT FROM CAST(:before_after AS text[])
AND (seen, changed) = (:before_seen, :before_changed)
"""
FINISH = f"UPDATE {BACKFILL_PROGRESS} SET (after, finished_at) = (NULL, now()) WHERE name = :name"
