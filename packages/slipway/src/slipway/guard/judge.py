"""Holds revisions against the rules; everything is read or recorded, nothing runs on a database."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from slipway.guard.lock_modes import strong_locks
from slipway.guard.record import RecordedStatement, Recording, record
from slipway.guard.rule import (
    REVISION_CHECKS,
    STATEMENT_CHECKS,
    Problem,
    RevisionContext,
    RuleContext,
    finding,
    problem,
)
from slipway.guard.rules import RULES
from slipway.guard.schema import Moment, Schema
from slipway.guard.sql.model import Name, Statement
from slipway.guard.sql.parser import parse
from slipway.guard.suppress import suppress
from slipway.project.configuration import Configuration
from slipway.project.history import Difference, History
from slipway.project.renamed import OLD, is_another, is_old
from slipway.project.source import Source
from slipway.report import Finding, Rule, severe


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the guard found, and what is `permitted`, in the revisions that it looked at."""

    findings: tuple[Finding, ...]
    permitted: tuple[Finding, ...]
    looked_at: tuple[Source, ...]


SecondOpinion = Callable[[Sequence[tuple[Source, RecordedStatement]]], list[Finding]]


def judge(
    history: History,
    looked_at: Sequence[Source],
    configuration: Configuration,
    *,
    difference: Difference | None = None,
    whole_chain: bool = True,
    second_opinion: SecondOpinion | None = None,
) -> Judgement:
    """Judge these revisions, with what the ones before them left behind.

    Args:
        difference: what git says; its edited and deleted revisions are findings.
        whole_chain: look for heads and gaps everywhere, and not only among these revisions.
        second_opinion: finds more in the statements of these revisions.
    """
    judged = {source.file for source in looked_at}
    found = list(_chain(history, judged, difference, whole_chain))
    if not is_another(configuration.search_path):
        found += _old_imports(history, judged, whole_chain)
    statements: list[tuple[Source, RecordedStatement]] = []
    failed: set[Path] = set()
    chain = history.up_to(looked_at)
    recordings = _recordings(chain, configuration)
    for (source, before), recording in zip(_schemas(chain), recordings, strict=True):
        run = _RevisionRun(source, recording, before, configuration)
        run.go(judging=source.file in judged)
        if recording.error:
            failed.add(source.file)
        if source.file in judged:
            found += run.findings
            statements += [(source, recorded) for recorded in recording.statements]
    if second_opinion:
        known = {(f.rule, f.file, f.line) for f in found}
        others = second_opinion(statements)
        found += [f for f in others if (f.rule, f.file, f.line) not in known]
    suppressed = suppress(
        severe(_counted(found), configuration.severities), _sources(history, difference)
    )
    off = {rule for rule, severity in configuration.severities.items() if severity == "off"}
    mistakes = [
        finding(RULES["bad-suppression"], problem(reason=reason), source, (line,))
        for source in looked_at
        for line, reason in suppressed.mistakes(source, off, failed=source.file in failed)
    ]
    kept = [*suppressed.kept, *severe(mistakes, configuration.severities)]
    return Judgement(
        findings=tuple(sorted(kept, key=lambda f: (str(f.file), f.line))),
        permitted=tuple(suppressed.permitted),
        looked_at=tuple(looked_at),
    )


def _sources(history: History, difference: Difference | None) -> dict[Path, Source]:
    deleted = difference.deleted if difference else ()
    return {source.file: source for source in (*deleted, *history.sources)}


def replay(
    history: History, configuration: Configuration
) -> tuple[Schema, list[tuple[Source, RecordedStatement]]]:
    """The schema that all revisions lead to, as their SQL has it, and what they send for it."""
    chain = history.up_to(history.heads)
    heads = {source.revision for source in history.heads}
    schema, statements = Schema(), []
    recordings = _recordings(chain, configuration)
    for (source, grown), recording in zip(_schemas(chain), recordings, strict=True):
        _RevisionRun(source, recording, grown, configuration).go(judging=False)
        statements += [(source, recorded) for recorded in recording.statements]
        if source.revision in heads:
            schema.add(grown)
    return schema, statements


def _recordings(chain: Sequence[Source], configuration: Configuration) -> Iterator[Recording]:
    runnable = [source.file for source in chain if not source.error]
    recordings = record(runnable, configuration.search_path)
    for source in chain:
        if source.error:
            yield Recording(error=source.error, error_line=source.error_line, broken=True)
        else:
            yield next(recordings)
    recordings.close()


def _schemas(chain: Sequence[Source]) -> Iterator[tuple[Source, Schema]]:
    """Each revision with the schema before it, which the taker lets grow."""
    children = Counter(parent for source in chain for parent in source.parents)
    after: dict[str, Schema] = {}
    for source in chain:
        schema = Schema()
        for index, parent in enumerate(p for p in source.parents if p in after):
            children[parent] -= 1
            # Only a schema that another revision needs has to be copied.
            known = after[parent].copy() if children[parent] else after.pop(parent)
            if index == 0:
                schema = known
            else:
                schema.add(known)
        yield source, schema
        after[source.revision] = schema


# ---- One revision


@dataclass
class _RevisionRun:
    """One revision, statement after statement."""

    source: Source
    recording: Recording
    schema: Schema
    configuration: Configuration

    def __post_init__(self) -> None:
        self.findings: list[Finding] = []
        self.statements: list[RuleContext] = []

    def go(self, *, judging: bool) -> None:
        earlier: list[Statement] = []
        for transaction, group in groupby(self.recording.statements, lambda r: r.transaction):
            now = Moment(self.source.revision, transaction)
            sent = [(recorded, parse(recorded.sql)) for recorded in group]
            later = deque(statement for _, statements in sent for statement in statements)
            held: dict[Name, str] = {}
            for recorded, statements in sent:
                for index, statement in enumerate(statements):
                    later.popleft()
                    if judging:
                        alone = len(statements) == 1 or index > 0
                        self._judge(recorded, statement, now, held, alone, earlier, later)
                    if not recorded.autocommit:
                        self._hold(statement, held)
                    self.schema.apply(statement, now)
                    earlier.append(statement)
        self.schema.complete = self.schema.complete and not self.recording.error
        if judging:
            self._whole()

    def _hold(self, statement: Statement, held: dict[Name, str]) -> None:
        for table, mode in strong_locks(statement, self.schema).items():
            if not self._is_exempt(table):
                held[table] = min(mode, held.get(table, mode))

    def _judge(
        self,
        recorded: RecordedStatement,
        statement: Statement,
        now: Moment,
        held: dict[Name, str],
        alone: bool,
        earlier: list[Statement],
        later: deque[Statement],
    ) -> None:
        context = RuleContext(
            statement=statement,
            sql=recorded.sql,
            lines=recorded.lines,
            now=now,
            autocommit=recorded.autocommit,
            alone=alone,
            earlier=earlier,
            later=later,
            existing_type=recorded.existing_type,
            before=self.schema,
            held=dict(held),
            postgresql=self.configuration.postgresql,
        )
        self.statements.append(context)
        for rule, check in STATEMENT_CHECKS:
            for found in check(context):
                self._add(rule, found, context.lines, context.sql)

    def _whole(self) -> None:
        judged = RevisionContext(
            source=self.source,
            statements=self.statements,
            applications=self.configuration.applications,
        )
        for rule, check in REVISION_CHECKS:
            for found in check(judged):
                self._add(rule, found, found.lines)
        known = {(finding.rule, finding.line) for finding in self.findings}
        for effect in self.recording.effects:
            if not known & {(effect.rule, line) for line in effect.lines}:
                found = problem(what=effect.what, call=effect.what)
                self._add(RULES[effect.rule], found, effect.lines)
        if self.recording.error:
            found = problem(
                reason=self.recording.error, severity="error" if self.recording.broken else ""
            )
            line = self.recording.error_line or self.source.line_of("upgrade")
            self._add(RULES["not-renderable"], found, (line,))

    def _is_exempt(self, table: Name, *, small: bool = True) -> bool:
        is_small = str(table) in self.configuration.small_tables
        return self.schema.is_new(table, self.source.revision) or (small and is_small)

    def _add(self, rule: Rule, found: Problem, lines: tuple[int, ...], sql: str = "") -> None:
        if found.table and self._is_exempt(found.table, small=rule.locks):
            return
        lines = lines or (self.source.line_of("upgrade"),)
        self.findings.append(finding(rule, found, self.source, lines, sql))


def _counted(findings: Iterable[Finding]) -> list[Finding]:
    """The same thing said once, however often a loop does it."""

    found: dict[tuple[object, ...], list[Finding]] = {}
    for item in findings:
        found.setdefault((item.rule, item.file, item.line, item.message), []).append(item)
    return [
        replace(same[0], message=f"{same[0].message} ({len(same)} times)") if same[1:] else same[0]
        for same in found.values()
    ]


# ---- The chain


def _chain(
    history: History, judged: set[Path], difference: Difference | None, whole: bool
) -> Iterator[Finding]:
    def found(rule: str, source: Source, name: str, text: str) -> Finding:
        at = (source.line_of(name),)
        return finding(RULES[rule], problem(reason=text), source, at)

    if difference:
        for source in difference.edited:
            yield found("edited-history", source, "upgrade", "edited")
        for source in difference.deleted:
            yield found("edited-history", source, "revision", "deleted")
    for source, reason in history.breaks():
        if whole or source.file in judged:
            yield found("multiple-heads", source, "down_revision", reason)
    heads = [head for head in history.heads if whole or head.file in judged]
    if len(heads) > 1:
        for head in [head for head in heads if head.file in judged] or heads:
            others = ", ".join(other.revision for other in heads if other is not head)
            reason = f"{head.revision} is a head, and so is {others}"
            yield found("multiple-heads", head, "down_revision", reason)


def _old_imports(history: History, judged: set[Path], whole: bool) -> Iterator[Finding]:
    """The imports of this library under the name that it had before, the first of each revision."""
    for source in history.sources:
        # To look through the syntax trees of a long history takes longer than all else.
        if OLD not in source.text or not (whole or source.file in judged):
            continue
        if old := [reference for reference in source.imports if is_old(reference.name)]:
            found = problem(module=old[0].name)
            yield finding(RULES["old-import"], found, source, (old[0].line,))
