"""Says what a statement does and who waits for it, in words that need no manual."""

from collections.abc import Mapping, Sequence

from slipway.guard.sql.model import Action, Statement
from slipway.guard.sql.parser import parse
from slipway.locks import Mode, Waiting, strongest
from slipway.rehearse.report.stats import StatementStats

MOST_SQL = 10_000  # of a statement is looked at

ACTIONS = {
    "ADD COLUMN": "adds column {name}",
    "DROP COLUMN": "drops column {name}",
    "RENAME COLUMN": "renames column {name} to {new_name}",
    "ALTER TYPE": "changes the type of {name} to {type}",
    "SET NOT NULL": "forbids NULL in {name}",
    "DROP NOT NULL": "allows NULL in {name}",
    "SET DEFAULT": "sets the default of {name}",
    "DROP DEFAULT": "removes the default of {name}",
    "DROP CONSTRAINT": "drops constraint {name}",
    "VALIDATE CONSTRAINT": "checks existing rows for constraint {name}",
    "RENAME CONSTRAINT": "renames constraint {name} to {new_name}",
    "RENAME TO": "renames it to {new_name}",
    "ADD VALUE": "adds value {name}",
}
KINDS = {
    "CREATE TABLE": "Creates table {target}",
    "DROP TABLE": "Drops table {target}",
    "CREATE INDEX": "Builds index {target} on {table}",
    "DROP INDEX": "Drops index {target}",
    "CREATE TYPE": "Creates type {target}",
    "DROP TYPE": "Drops type {target}",
    "CREATE TRIGGER": "Creates trigger {target} on {table}",
    "DROP TRIGGER": "Drops trigger {target} on {table}",
    "TRUNCATE": "Empties {target}",
    "LOCK": "Locks {target}",
    "VACUUM": "Cleans up {target}",
    "CLUSTER": "Sorts {target} on disk",
    "REINDEX": "Rebuilds indexes of {target}",
}
VERBS = {
    "INSERT": "Inserts into {table}",
    "UPDATE": "Changes rows of {table}",
    "DELETE": "Deletes from {table}",
    "MERGE": "Merges into {table}",
}


def does(sql: str) -> str:
    """What a statement does; where there are no words for it, its first line."""
    statements = parse(sql[:MOST_SQL])
    words = _does(statements[0]) if len(statements) == 1 else ""
    return words or short(sql)


def _does(statement: Statement) -> str:
    target = ", ".join(map(str, statement.targets))
    if statement.actions:
        parts = [_action(action) for action in statement.actions]
        return f"{_capital(', '.join(parts))} ({target})" if all(parts) else ""
    if statement.changes:
        change = statement.changes[0]
        return VERBS[change.verb].format(table=change.table) if change.verb in VERBS else ""
    words = KINDS.get(statement.kind, "") if target else ""
    words = words.format(target=target, table=statement.table)
    concurrent = words and "CONCURRENTLY" in statement.flags
    return f"{words} without blocking writes" if concurrent else words


def _action(action: Action) -> str:
    if action.constraint:
        kind = action.constraint.kind.lower()
        unchecked = "" if action.constraint.validates else ", for new rows only"
        return f"adds {kind} {action.constraint.name}".rstrip() + unchecked
    return ACTIONS.get(action.kind, "").format(
        name=action.name, new_name=action.new_name, type=action.type
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def short(sql: str, most: int = 100) -> str:
    """In one line, cut where it is too long."""
    return cut(" ".join(sql.split()), most)


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def waiting(step: StatementStats) -> Waiting:
    """Which requests of the service wait for a statement."""
    modes: list[Waiting] = [mode.waiting for mode in step.blocking.values()]
    return "everybody" if "everybody" in modes else "writers" if modes else "nobody"


def needs(step: StatementStats) -> str:
    """What a statement blocks, and for how long: `blocks reads and writes of items for 2 ms`."""
    if not step.blocking:
        return f"blocks nothing; {took(step)}"
    taken = strongest(step.statement.locks)
    seconds = _blocked(step)
    lasting = f" for {duration(seconds)}" if step.runs else ""
    parts = [
        part.format(_list([t for t, mode in modes.items() if mode.waiting == who]))
        for modes, words in (
            ({t: m for t, m in step.blocking.items() if t in taken}, NEEDS),
            ({t: m for t, m in step.blocking.items() if t not in taken}, STILL),
        )
        for who, part in words.items()
        if any(mode.waiting == who for mode in modes.values())
    ]
    return f"{', '.join(parts)}{lasting}{'' if step.runs else '; it was not reached'}"


NEEDS: Mapping[Waiting, str] = {
    "everybody": "blocks reads and writes of {}",
    "writers": "blocks writes to {}",
}
STILL: Mapping[Waiting, str] = {
    "everybody": "still blocks reads and writes of {}",
    "writers": "still blocks writes to {}",
}


def _blocked(step: StatementStats) -> float:
    """Until its locks were released, in seconds: of the run that succeeded, or of the longest."""
    runs = [run for run in step.runs if not run.error] or step.runs
    return max((run.released - run.started for run in runs), default=0)


def took(step: StatementStats) -> str:
    if not step.runs:
        return "not reached"
    times = sum(run.times for run in step.runs if not run.error)
    often = f" ({times} times)" if times > 1 else ""
    return f"took {duration(step.seconds)}{often}"


def more(step: StatementStats) -> list[str]:
    """What else there is to know of a statement."""
    facts = []
    if step.statement.rewritten:
        tables = _list(step.statement.rewritten)
        facts.append(f"rewrites every row of {tables}")
    for table, rows in step.statement.scanned.items():
        facts.append(f"reads {rows:,} rows of {table}")
    if failed := step.failed:
        waited = all("lock timeout" in run.error for run in failed)
        often = "" if len(failed) == 1 else f" {len(failed)} times"
        longest = duration(max(run.seconds for run in failed))
        facts.append(f"{'gave up' if waited else 'failed'}{often} after {longest}")
    return facts


def is_setting(step: StatementStats) -> bool:
    """Whether it only sets or asks for something, and leaves all tables alone."""
    statement = step.statement
    kinds = {part.kind for part in parse(statement.sql[:MOST_SQL])}
    return kinds <= {"SET", "RESET", "SHOW", "SELECT"} and not (
        statement.locks or statement.held or statement.scanned or step.failed
    )


def locks(step: StatementStats) -> list[tuple[str, Mode, bool]]:
    """Each table with its lock, and whether an earlier statement took it."""
    taken = step.statement.locks
    both = sorted(strongest(step.statement.held, taken).items())
    return [
        *((table, mode, False) for table, mode in both if table in taken),
        *((table, mode, True) for table, mode in both if table not in taken),
    ]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """As people say it: `0.4 ms`, `12 ms`, `1.25 s`."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 99.95 else f"{seconds:,.0f} s"


def shown(text: object) -> str:
    """Without characters that command a terminal or turn text around."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(text))
