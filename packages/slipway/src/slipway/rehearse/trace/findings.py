"""What statements, and what they leave behind, prove."""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.locks import blocked, is_strong, rank
from slipway.project.source import Source
from slipway.rehearse import rules
from slipway.rehearse.model import TracedStatement
from slipway.rehearse.trace.child import MigrationFailure
from slipway.rehearse.trace.schema_snapshot import SchemaSnapshot
from slipway.report import Finding, Rule, count, filled


@dataclass(frozen=True)
class Place:
    file: str | Path
    line: int
    revision: str
    sql: str = ""


def place_of(statement: TracedStatement) -> Place:
    return Place(statement.file, statement.line, statement.revision, statement.sql)


def finding(rule: Rule, place: Place, *, severity: str = "", **fields: str) -> Finding:
    """A finding whose texts have these fields filled in."""
    return Finding(
        rule=rule.name,
        severity=severity or rule.severity,
        message=filled(rule.summary, fields.items()),
        instead=filled(rule.instead, fields.items()),
        file=Path(place.file),
        line=place.line,
        revision=place.revision,
        sql=place.sql,
    )


# ---- Statements


def statement_findings(
    statements: Iterable[TracedStatement], small_tables: Collection[str] = ()
) -> Iterator[Finding]:
    """Rewrites, scans and chains of locks; of small tables, locks do not matter."""
    for statement in statements:
        locked = {t: mode for t, mode in locks(statement).items() if t not in small_tables}
        for table in statement.rewritten:
            if table in locked:
                yield _about(rules.REWRITTEN, statement, table, locked[table])
        for scanned in scanned_under_lock(statement, small_tables):
            table = scanned if scanned in locked else max(locked, key=lambda t: rank(locked[t]))
            rows = count(statement.scanned[scanned], "row")
            mode = locked[table]
            yield _about(rules.SCANNED, statement, table, mode, scanned=scanned, rows=rows)
        for table, held in chain(statement, small_tables):
            yield _about(rules.CHAIN, statement, table, statement.locks[table], held=held)


def _about(rule: Rule, statement: TracedStatement, table: str, mode: str, **fields: str) -> Finding:
    parts = {"table": table, "mode": mode, "blocked": blocked(mode), **fields}
    return finding(rule, place_of(statement), **parts)


def locks(statement: TracedStatement) -> dict[str, str]:
    """The strong locks under which a statement ran, those that it took itself included."""
    taken = {table: mode for table, mode in statement.locks.items() if is_strong(mode)}
    both = [*statement.held.items(), *taken.items()]
    return dict(sorted(both, key=lambda lock: rank(lock[1])))


def scanned_under_lock(
    statement: TracedStatement, small_tables: Collection[str] = ()
) -> Iterator[str]:
    """Return the tables scanned while any table was locked; rewrites are reported separately."""
    if any(table not in small_tables for table in locks(statement)):
        for table in statement.scanned:
            if table not in statement.rewritten and table not in small_tables:
                yield table


def chain(
    statement: TracedStatement, small_tables: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """A table that was locked while another one was held, and that one."""
    held = [table for table in statement.held if table not in small_tables]
    taken = (table for table, mode in statement.locks.items() if is_strong(mode))
    for table in taken:
        if held and table not in statement.held and table not in small_tables:
            yield table, held[0]
            return


# ---- What is left behind


def left_behind(
    source: Source,
    statements: Sequence[TracedStatement],
    before: SchemaSnapshot,
    after: SchemaSnapshot,
    last: SchemaSnapshot,
    small_tables: Collection[str] = (),
) -> Iterator[Finding]:
    """What a revision has left as it should not be.

    Args:
        statements: of the revision.
        last: the state after all revisions: what a later one repairs is no finding.
    """
    kinds = (
        (rules.INVALID_INDEX, before.invalid, after.invalid, last.invalid),
        (rules.NOT_VALIDATED, before.unvalidated, after.unvalidated, last.unvalidated),
        (rules.UNINDEXED, before.unindexed, after.unindexed, last.unindexed),
    )
    for rule, earlier, now, finally_ in kinds:
        for name, table in sorted(now.items()):
            is_new = (name, table) not in earlier.items() and (name, table) in finally_.items()
            exempt = rule is rules.UNINDEXED and table in small_tables
            if is_new and not exempt:
                place = _made(source, statements, name, table)
                yield finding(rule, place, name=name, table=table)


def _made(source: Source, statements: Sequence[TracedStatement], name: str, table: str) -> Place:
    """The statement that made something: the last one that names it, or at least its table."""
    changes = [
        s for s in statements if re.match(r"\s*(CREATE|ALTER|REINDEX)", s.sql, re.IGNORECASE)
    ]
    for wanted in (name, table.rpartition(".")[2]):
        for statement in reversed(changes):
            if re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", statement.sql):
                return place_of(statement)
    return Place(source.file, source.line_of("upgrade"), source.revision)


# ---- There and back


def failed_upgrade(failure: MigrationFailure) -> Finding:
    place = Place(failure.file, failure.line, failure.revision)
    return finding(rules.UPGRADE_FAILS, place, error=failure.error)


def reverted(
    source: Source, failure: MigrationFailure | None, before: SchemaSnapshot, after: SchemaSnapshot
) -> Iterator[Finding]:
    """Find what is wrong with a downgrade.

    There is no finding where the revision declares itself irreversible, and one of severity `info`
    for contract revisions: what they remove is gone.

    Args:
        before: the schema before the upgrade.
        after: the schema after the downgrade.
    """
    if says_irreversible(source):
        return
    severity = "info" if source.phase == "contract" else ""
    line = source.line_of("downgrade")
    if failure:
        line = failure.line if failure.revision == source.revision else line
        place = Place(source.file, line, source.revision)
        yield finding(rules.DOWNGRADE_FAILS, place, severity=severity, error=failure.error)
    elif difference := _difference(before, after):
        place = Place(source.file, line, source.revision)
        yield finding(rules.DOWNGRADE_DIFFERS, place, severity=severity, difference=difference)


def repeated(source: Source, first: SchemaSnapshot, second: SchemaSnapshot) -> Iterator[Finding]:
    """Whether the schema is another one after upgrade, downgrade and upgrade."""
    if difference := _difference(first, second):
        place = Place(source.file, source.line_of("downgrade"), source.revision)
        yield finding(rules.UPGRADE_DIFFERS, place, difference=difference)


def _difference(wanted: SchemaSnapshot, found: SchemaSnapshot) -> str:
    """The first few things in which two schemas differ."""
    words = [f"without {item}" for item in sorted(wanted.schema - found.schema)]
    words += [f"with {item}" for item in sorted(found.schema - wanted.schema)]
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return "; ".join(" ".join(word.split()) for word in words[:3]) + more


def says_irreversible(source: Source) -> bool:
    """Whether `downgrade()` does nothing on purpose: it raises, or a docstring or comment says
    why."""
    function = source.function("downgrade")
    if not function or source.is_empty("downgrade"):
        return False
    return all(_does_nothing(node) for node in function.body)


def _does_nothing(node: ast.stmt) -> bool:
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant or isinstance(node, ast.Pass | ast.Raise | ast.Return)
