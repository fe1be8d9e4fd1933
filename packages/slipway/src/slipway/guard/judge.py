"""Holds revisions against the rules; everything is read or recorded, nothing runs on a database."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import slipway.guard.rules  # noqa: F401  registers them
from slipway.guard.lock_modes import strong_locks
from slipway.guard.record import RecordedStatement, Recording, record
from slipway.guard.rule import (
    REVISION_CHECKS,
    RULES,
    STATEMENT_CHECKS,
    Problem,
    RevisionContext,
    Rule,
    RuleContext,
    problem,
)
from slipway.guard.schema import Moment, Schema
from slipway.guard.sql.model import Name, Statement
from slipway.guard.sql.parser import parse
from slipway.project.configuration import Configuration
from slipway.project.history import Difference, History
from slipway.project.source import Source, Suppression
from slipway.report import filled


@dataclass(frozen=True, kw_only=True)
class Finding:
    rule: str
    severity: str
    source: Source
    lines: tuple[int, ...]  # the innermost first, then those that led there
    sql: str
    message: str
    instead: str
    contract: bool = False
    times: int = 1
    reason: str = ""  # why it is suppressed, ...
    allowed_at: int = 0  # ... and on which line

    @property
    def line(self) -> int:
        return self.lines[0] if self.lines else 1


@dataclass(frozen=True, kw_only=True)
class Judgement:
    findings: tuple[Finding, ...]
    suppressed: tuple[Finding, ...]
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
        known = {(f.rule, f.source.file, f.line) for f in found}
        others = second_opinion(statements)
        found += [f for f in others if (f.rule, f.source.file, f.line) not in known]
    kept, suppressed = _suppress(_severe(_counted(found), configuration))
    used = {(f.source.file, f.allowed_at, f.rule) for f in suppressed}
    off = {rule for rule, severity in configuration.severities.items() if severity == "off"}
    mistakes = [
        finding(RULES["bad-suppression"], problem(reason=reason), source, (suppression.line,))
        for source in looked_at
        for suppression in source.suppressions
        for reason in _mistakes(source, suppression, used, off, source.file in failed)
    ]
    kept += _severe(mistakes, configuration)
    return Judgement(
        findings=tuple(sorted(kept, key=lambda f: (str(f.source.file), f.line))),
        suppressed=tuple(suppressed),
        looked_at=tuple(looked_at),
    )


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
            # Only a schema that somebody else needs has to be copied.
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
        self.contexts: list[RuleContext] = []

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
        self.contexts.append(context)
        for rule, check in STATEMENT_CHECKS:
            for found in check(context):
                self._add(rule, found, context.lines, context.sql)

    def _whole(self) -> None:
        judged = RevisionContext(
            source=self.source, contexts=self.contexts, applications=self.configuration.applications
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


def finding(
    rule: Rule, found: Problem, source: Source, lines: tuple[int, ...], sql: str = ""
) -> Finding:
    fields = found.fields.items()
    return Finding(
        rule=rule.name,
        severity=found.severity or rule.severity,
        contract=rule.contract or found.contract,
        source=source,
        lines=lines,
        sql=sql,
        message=filled(rule.summary, fields),
        instead=filled(found.instead or rule.instead, fields),
    )


def _counted(findings: Iterable[Finding]) -> list[Finding]:
    """The same thing said once, however often a loop does it."""
    found: dict[tuple[object, ...], Finding] = {}
    for item in findings:
        key = (item.rule, item.source.file, item.line, item.message)
        before = found.get(key)
        found[key] = replace(before, times=before.times + 1) if before else item
    return list(found.values())


def _severe(findings: Iterable[Finding], configuration: Configuration) -> list[Finding]:
    """The findings with the severities that the project gives them."""
    severities = configuration.severities
    severe = [replace(f, severity=severities.get(f.rule, f.severity)) for f in findings]
    return [finding for finding in severe if finding.severity != "off"]


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


# ---- Suppressions

FOREIGN = "squawk/"  # rules of others, which do not look each time


def _suppress(findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Part what is left from what is permitted."""
    kept, suppressed = [], []
    for item in findings:
        if covering := _covering(item):
            suppressed.append(replace(item, reason=covering.reason, allowed_at=covering.line))
        elif item.contract and item.source.phase == "contract":
            suppressed.append(replace(item, reason='phase = "contract"'))
        else:
            kept.append(item)
    return kept, suppressed


def _covering(found: Finding) -> Suppression | None:
    """The suppression nearest to a finding."""
    fitting = [
        suppression
        for suppression in found.source.suppressions
        if found.rule in suppression.rules
        and suppression.reason
        and (suppression.whole_file or any(line in suppression.covers for line in found.lines))
    ]
    return min(fitting, key=lambda s: (s.whole_file, len(s.covers)), default=None)


def _mistakes(
    source: Source,
    suppression: Suppression,
    used: set[tuple[Path, int, str]],
    off: set[str],
    failed: bool,
) -> Iterator[str]:
    if not suppression.rules or not suppression.reason:
        yield "write it as `# guard: allow[rule] reason`"
        return
    for name in suppression.rules:
        if name.startswith(FOREIGN):
            continue
        if name not in RULES or name == "bad-suppression":
            yield f"there is no rule {name!r} to allow"
        # What a revision that was not seen to its end would have done is not known.
        elif (source.file, suppression.line, name) not in used and not failed and name not in off:
            yield f"nothing here breaks {name}: delete it"
