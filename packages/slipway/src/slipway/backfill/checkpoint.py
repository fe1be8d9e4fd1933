"""Where a backfill stopped, noted by each batch in its own transaction."""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

from slipway.backfill.batches import Position
from slipway.backfill.definition import Backfill, BackfillError
from slipway.queries import BACKFILL_PROGRESS


@dataclass(frozen=True)
class State:
    """The key up to which all batches are done, and the rows they looked at and changed."""

    after: Position | None = None
    seen: int = 0
    changed: int = 0


def stopped_at(connection: Connection, name: str, backfill: Backfill) -> State:
    """Where an earlier run was interrupted; the start if it was not, or was of something else."""
    if connection.scalar(text(f"SELECT to_regclass('{BACKFILL_PROGRESS}')")) is None:
        return State()
    row = connection.execute(
        text(STOPPED), {"name": name, "definition": _definition(backfill)}
    ).one_or_none()
    return State(tuple(row.after) if row.after else None, row.seen, row.changed) if row else State()


def start(connection: Connection, name: str, backfill: Backfill) -> State:
    """Note that a run goes on where the last one stopped, and where that is."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext(:table))"), {"table": BACKFILL_PROGRESS}
    )
    connection.execute(text(CREATE))
    state = stopped_at(connection, name, backfill)
    fields = {"name": name, "definition": _definition(backfill), **_fields(state)}
    connection.execute(text(START), fields)
    return state


def save(connection: Connection, name: str, before: State, after: State) -> None:
    """Note that a batch is done, within its transaction.

    Raises:
        BackfillError: somebody else has noted something since.
    """
    fields = {f"before_{field}": value for field, value in _fields(before).items()}
    saved = connection.execute(text(SAVE), {"name": name, **fields, **_fields(after)})
    if saved.rowcount != 1:
        raise BackfillError(
            f"Another process went on with {name} meanwhile; it did nothing twice, nor did this one"
        )


def finish(connection: Connection, name: str) -> None:
    connection.execute(text(FINISH), {"name": name})


def _fields(state: State) -> dict[str, object]:
    return {**asdict(state), "after": list(state.after) if state.after else None}


def _definition(backfill: Backfill) -> str:
    """What must be the same for a run to go on where the last one stopped."""
    change = backfill.change
    said = change if isinstance(change, str) else f"{change.__module__}.{change.__qualname__}"
    return f"{backfill.table}: {said} WHERE {backfill.where}"


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
STOPPED = f"""
SELECT after, seen, changed FROM {BACKFILL_PROGRESS}
WHERE name = :name AND definition = :definition AND finished_at IS NULL
"""  # noqa: S608
START = f"""
INSERT INTO {BACKFILL_PROGRESS} AS old (name, definition, after, seen, changed)
VALUES (:name, :definition, CAST(:after AS text[]), :seen, :changed)
ON CONFLICT (name) DO UPDATE SET (definition, after, seen, changed, saved_at, began_at, finished_at)
= (excluded.definition, excluded.after, excluded.seen, excluded.changed, now(),
   CASE WHEN excluded.seen > 0 THEN old.began_at ELSE now() END, NULL)
"""  # noqa: S608
SAVE = f"""
UPDATE {BACKFILL_PROGRESS}
SET (after, seen, changed, saved_at) = (CAST(:after AS text[]), :seen, :changed, now())
WHERE name = :name AND after IS NOT DISTINCT FROM CAST(:before_after AS text[])
AND (seen, changed) = (:before_seen, :before_changed)
"""  # noqa: S608
FINISH = f"UPDATE {BACKFILL_PROGRESS} SET (after, finished_at) = (NULL, now()) WHERE name = :name"  # noqa: S608
