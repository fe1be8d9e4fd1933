"""What a rule is, and what it looks at: one statement, or one revision as a whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.guard.schema import Moment, Schema
from slipway.guard.sql.model import Name, Statement
from slipway.project.source import Source
from slipway.report import Finding, Rule, filled


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a rule found. Where it is about a `table` that the same revision made, it is none.

    `contract` as for the rule, where only some of its problems are permitted.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    table: Name | None = None
    severity: str = ""
    contract: bool = False
    instead: str = ""
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RuleContext:
    """A statement where it runs: in a schema as of `before`, which goes on to grow once the checks
    of the statement are done, and in a transaction that already holds the locks `held`."""

    statement: Statement
    sql: str
    lines: tuple[int, ...]
    now: Moment
    autocommit: bool
    alone: bool  # whether nothing else was sent with it
    earlier: Sequence[Statement]  # of the revision
    later: Sequence[Statement]  # of the transaction
    existing_type: str
    before: Schema
    held: Mapping[Name, str]
    postgresql: int

    def is_new(self, name: Name) -> bool:
        return self.before.is_new(name, self.now.revision)

    @property
    def target(self) -> Name:
        return self.statement.targets[0] if self.statement.targets else Name("public", "")


@dataclass(frozen=True, kw_only=True)
class RevisionContext:
    """A revision with all its statements."""

    source: Source
    statements: Sequence[RuleContext]
    applications: frozenset[str]


StatementCheck = Callable[[RuleContext], Iterator[Problem]]
RevisionCheck = Callable[[RevisionContext], Iterator[Problem]]
RULES: dict[str, Rule] = {}
STATEMENT_CHECKS: list[tuple[Rule, StatementCheck]] = []
REVISION_CHECKS: list[tuple[Rule, RevisionCheck]] = []


def declare(**parts: Any) -> Rule:
    """Register a rule; what finds its problems may stand elsewhere."""
    rule = Rule(**parts)
    RULES[rule.name] = rule
    return rule


def of_statement(**parts: Any) -> Callable[[StatementCheck], StatementCheck]:
    """Register a rule with what finds its problems in each statement."""
    rule = declare(**parts)

    def register(check: StatementCheck) -> StatementCheck:
        STATEMENT_CHECKS.append((rule, check))
        return check

    return register


def of_revision(**parts: Any) -> Callable[[RevisionCheck], RevisionCheck]:
    """Register a rule with what finds its problems in a revision as a whole."""
    return also_of_revision(declare(**parts).name)


def also_of_revision(name: str) -> Callable[[RevisionCheck], RevisionCheck]:
    """Register what finds more problems of a known rule, in a revision as a whole."""

    def register(check: RevisionCheck) -> RevisionCheck:
        REVISION_CHECKS.append((RULES[name], check))
        return check

    return register


def problem(
    about: Name | None = None,
    /,
    *,
    severity: str = "",
    contract: bool = False,
    instead: str = "",
    lines: tuple[int, ...] = (),
    **fields: str,
) -> Problem:
    """A problem about this table, and with these names in its texts."""
    if about:
        fields.setdefault("table", str(about))
    return Problem(
        table=about,
        severity=severity,
        contract=contract,
        instead=instead,
        lines=lines,
        fields=fields,
    )


def finding(
    rule: Rule, problem: Problem, source: Source, lines: tuple[int, ...], sql: str = ""
) -> Finding:
    """Make a finding of a problem.

    Args:
        lines: of the source, innermost first; its first line if there are none.
    """
    fields = problem.fields.items()
    line, *callers = lines or (1,)
    return Finding(
        rule=rule.name,
        severity=problem.severity or rule.severity,
        message=filled(rule.summary, fields),
        instead=filled(problem.instead or rule.instead, fields),
        file=source.file,
        line=line,
        callers=tuple(callers),
        revision=source.revision,
        sql=sql,
        reason=contract_reason(source, rule, problem),
    )


def contract_reason(source: Source, rule: Rule, problem: Problem | None = None) -> str:
    """Why the phase of a revision permits what a rule is about, if it does."""
    of_contract = rule.contract or bool(problem and problem.contract)
    return 'phase = "contract"' if of_contract and source.phase == "contract" else ""
