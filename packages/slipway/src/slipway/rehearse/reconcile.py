"""Which of the guard's findings about locks a rehearsal disproves.

It may do so for the version of PostgreSQL that it ran on, and never for a finding about
compatibility: how the running version of the service fares is another question.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from slipway.guard.rules import RULES
from slipway.locks import is_strong
from slipway.project.source import read
from slipway.rehearse.model import TracedStatement
from slipway.rehearse.trace.findings import chain, locks, scanned_under_lock
from slipway.report import Finding, count

Disproof = Callable[[TracedStatement], bool]


def _reads_nothing(statement: TracedStatement) -> bool:
    """No rewrite and no scan, so that the lock is short."""
    return not statement.rewritten and not any(scanned_under_lock(statement))


def _locks_nothing(statement: TracedStatement) -> bool:
    """No reads or writes wait, not even for a moment."""
    return not any(is_strong(mode) for mode in statement.locks.values())


def _locks_one(statement: TracedStatement) -> bool:
    return len(locks(statement)) < 2


# What each rule fears, and so the fact that disproves it. Findings about the work that is done
# under a lock fall when there is none. Those about the lock itself fall only if it was not taken.
# DETACH PARTITION is about the lock of two tables, ATTACH about its scan: nothing is cleared that
# rewrites or scans under a lock, or locks a second table while it holds one.
DISPROOFS: Mapping[str, Disproof] = {
    "index-not-concurrent": _reads_nothing,
    "reindex-not-concurrent": _reads_nothing,
    "foreign-key-scan": _reads_nothing,
    "check-scan": _reads_nothing,
    "unique-scan": _reads_nothing,
    "primary-key-scan": _reads_nothing,
    "exclusion-scan": _reads_nothing,
    "set-not-null-scan": _reads_nothing,
    "validate-in-same-transaction": _reads_nothing,
    "table-rewrite": _reads_nothing,
    "volatile-default": _reads_nothing,
    "add-identity": _reads_nothing,
    "add-stored-column": _reads_nothing,
    "add-checked-column": _reads_nothing,
    "partition-scan": _locks_one,
    "lock-chain": _locks_one,
    "drop-index-not-concurrent": _locks_nothing,
    "lock-table": _locks_nothing,
    "trigger": _locks_nothing,
    "drop-constraint": _locks_nothing,
}


def clear(
    findings: Iterable[Finding],
    statements: Sequence[TracedStatement],
    rows: Mapping[str, int],
    *,
    server: int,
    production: int,
) -> tuple[list[Finding], list[Finding]]:
    """Part the guard's findings in those that stay and those that are disproved, with the reason.

    Args:
        statements: as traced, with their locks.
        rows: how many each table had, by its name; empty tables prove nothing.
        server: the major version of the PostgreSQL that the rehearsal ran on.
        production: that of the PostgreSQL that the revisions are for.
    """
    kept, cleared = [], []
    for found in findings:
        traced = tuple(_of_line(found, statements)) if server == production else ()
        if found.rule in DISPROOFS and RULES[found.rule].locks and _disproved(found, traced, rows):
            read_ = sum(rows[table] for table in {t for s in traced for t in s.locks})
            rows_ = count(read_, "row")
            reason = f"not observed in a rehearsal on PostgreSQL {server} with {rows_}"
            cleared.append(replace(found, reason=reason))
        else:
            kept.append(found)
    return kept, cleared


def _disproved(found: Finding, traced: Sequence[TracedStatement], rows: Mapping[str, int]) -> bool:
    """Whether all that the line sent was seen to its end, on tables with rows, and is harmless.

    Where no lock was seen at all, nothing was seen of what the guard speaks of.
    """
    touched = {table for s in traced for table in (*s.locks, *s.held)}
    return (
        bool(touched)
        and all(rows.get(table) for table in touched)
        and all(_is_harmless(s) and DISPROOFS[found.rule](s) for s in traced)
    )


def _is_harmless(statement: TracedStatement) -> bool:
    return not statement.error and _reads_nothing(statement) and not any(chain(statement))


def _of_line(found: Finding, statements: Sequence[TracedStatement]) -> Iterator[TracedStatement]:
    """The statements that the same lines of Python sent: an expression may span several."""
    file = found.file.resolve()
    lines = _lines(file, found.line)
    for statement in statements:
        if statement.line in lines and Path(statement.file).resolve() == file:
            yield statement


def _lines(file: Path, line: int) -> range:
    """The lines of the innermost statement around this one; only this one if it has a body."""
    nodes = [
        node
        for node in ast.walk(read(file).tree)
        if isinstance(node, ast.stmt)
        and not hasattr(node, "body")
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    if not nodes:
        return range(line, line + 1)
    return range(nodes[-1].lineno, (nodes[-1].end_lineno or line) + 1)
