"""What the commands find, in the one shape that is printed, counted and turned into exit codes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from slipway.project.configuration import ProjectError, unknown

LEVELS = ("error", "warning", "info")
# The modules that declare the rules of each command, as a mapping `RULES` of name to rule, the
# slowest to import last.
DECLARE_RULES = {
    "guard": "slipway.guard.rules",
    "rehearse": "slipway.rehearse.rules",
    "overlap": "slipway.overlap.rules",
    "verify": "slipway.verify",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a command looks for.

    Attributes:
        severity: One of `LEVELS`, or another that the project gives it.
        summary: What is wrong, with the {fields} of a finding.
        why: What happens to the service otherwise.
        instead: What to write, with the {fields} of a finding.
        example: A revision's `upgrade()` that breaks it, or what leads to it.
        fields: The {fields} of the example's finding.
        reference: Page of the PostgreSQL manual, `explicit-locking.html`, or another URL.
        locks: Whether it is about locks, which do not matter on small tables.
        contract: Whether a revision with `phase = "contract"` may do it.
    """

    name: str
    severity: str
    summary: str
    why: str
    instead: str
    example: str = ""
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    reference: str = ""
    locks: bool = False
    contract: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A place that breaks a rule.

    Attributes:
        line: Innermost line of the file that it comes from.
        callers: Lines of the same file that led there, innermost first.
        reason: Why it is permitted.
    """

    rule: str
    severity: str
    message: str
    instead: str
    file: Path
    line: int = 1
    callers: tuple[int, ...] = ()
    revision: str = ""
    sql: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a command found, and a verdict in one line.

    `rules` are those that it knows, `details` what else programs want to know.
    """

    title: str
    verdict: str
    findings: tuple[Finding, ...] = ()
    permitted: tuple[Finding, ...] = ()
    looked_at: tuple[Path, ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def fails(self, level: str) -> bool:
        """Whether something was found that is at least as severe."""
        severe = LEVELS[: LEVELS.index(level) + 1]
        return any(finding.severity in severe for finding in self.findings)

    def counts(self) -> str:
        """How much was found: `2 errors, 1 warning`."""
        severities = [finding.severity for finding in self.findings]
        counts = [count(severities.count(level), level) for level in LEVELS if level in severities]
        return ", ".join(counts)


def severe(findings: Iterable[Finding], severities: Mapping[str, str]) -> list[Finding]:
    """Give findings the severities of the project, each finding once and without those that are
    switched off.

    Raises:
        ProjectError: A severity is given for a rule that does not exist.
    """
    check(severities)
    found = (replace(f, severity=severities.get(f.rule, f.severity)) for f in findings)
    return list(dict.fromkeys(finding for finding in found if finding.severity != "off"))


def check(severities: Mapping[str, str]) -> None:
    """Refuse severities for rules that do not exist, before a command that takes long begins.

    Raises:
        ProjectError: There is no such rule.
    """
    known: set[str] = set()
    for module in DECLARE_RULES.values():
        if severities.keys() <= known:
            return
        known |= _rules(module).keys()
    for name in severities.keys() - known:
        raise ProjectError(f"[slipway.severities] has no rule {unknown(name, known)}")


def every_rule() -> dict[str, dict[str, Rule]]:
    """Return the rules of all commands, by name and by command."""
    found: dict[str, dict[str, Rule]] = {}
    for command, module in DECLARE_RULES.items():
        for name, rule in _rules(module).items():
            found.setdefault(name, {})[command] = rule
    return found


def _rules(module: str) -> Mapping[str, Rule]:
    # By name: a project gives severities to the rules of all commands in one table, so a command
    # has to know the rules of the others, but not to import what they do.
    rules: Mapping[str, Rule] = import_module(module).RULES
    return rules


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 and noun != 'info' else ''}"


class _Fields(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return key


def filled(template: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """A text of a rule with names in it; a name that is not known stands for itself."""
    return template.format_map(_Fields(fields))
