"""A report in the forms that people and programs read."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from migrator.guard.judge import Finding, Report, filled
from migrator.guard.rule import RULES, Rule
from migrator.guard.source import Source

LEVELS = ("error", "warning", "info")
MOST_SQL = 10_000


def _file(source: Source) -> str:
    """From the current folder, as editors and annotations want it."""
    here = Path.cwd()
    file = source.file.absolute()
    return (file.relative_to(here) if file.is_relative_to(here) else file).as_posix()


def _message(finding: Finding) -> str:
    times = f" ({finding.times} times)" if finding.times > 1 else ""
    return finding.message + times


def summary(report: Report) -> str:
    """One line: what was looked at, and what was found."""
    if not report.looked_at and not report.findings:
        return "Looked at nothing: the base branch has all revisions (--all looks at them too)."
    severities = [finding.severity for finding in report.findings]
    counts = [_count(severities.count(level), level) for level in LEVELS if level in severities]
    found = ", ".join(counts) or "nothing found"
    suppressed = f", {len(report.suppressed)} permitted" if report.suppressed else ""
    return f"Looked at {_count(len(report.looked_at), 'revision')}: {found}{suppressed}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 and noun != 'info' else ''}"


# ---- For people


def text(report: Report) -> str:
    """Print to the terminal, or to whatever stands in its place; nothing is left to print."""
    from rich.console import Console  # only here: it is slow to import

    console = Console(highlight=False, markup=False, soft_wrap=True)
    colours = {"error": "bold red", "warning": "yellow", "info": "cyan"}
    for finding in report.findings:
        console.print(f"{_file(finding.source)}:{finding.line}", style="bold", end=": ")
        console.print(f"{finding.severity}[{finding.rule}]", style=colours[finding.severity])
        console.print(f"  {_visible(_message(finding))}")
        for number, line in _excerpt(finding):
            console.print(f"  {number:>4} | {_visible(line)}", style="dim")
        for line in _shortened(finding.sql):
            console.print(f"   SQL | {_visible(line)}", style="blue")
        console.print("  instead:", style="dim")
        for line in finding.instead.splitlines():
            console.print(f"      {_visible(line)}", style="green")
        console.print()
    for finding in report.suppressed:
        place = f"{_file(finding.source)}:{finding.line}"
        console.print(f"{place}: permitted[{finding.rule}] {finding.reason}", style="dim")
    console.print(summary(report), style="bold")
    rules = [finding.rule for finding in report.findings if finding.rule in RULES]
    if rules:
        console.print(f"Why: python -m migrator guard --explain {rules[0]}", style="dim")
    return ""


def _visible(line: str) -> str:
    """What a migration contains must not command the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda c: f"\\x{ord(c[0]):02x}", line)


def _excerpt(finding: Finding) -> Iterator[tuple[int, str]]:
    lines = finding.source.text.splitlines()
    if 0 < finding.line <= len(lines):
        yield finding.line, lines[finding.line - 1]


def _shortened(sql: str) -> list[str]:
    lines = sql[:500].splitlines()
    return [*lines[:5], "..."] if len(lines) > 5 or len(sql) > 500 else lines


def explain(rule: Rule) -> str:
    """All that a rule says of itself."""
    contract = '\nPermitted where the revision has phase = "contract".' if rule.contract else ""
    locks = "\nSmall tables are exempt." if rule.locks else ""
    return (
        f"{rule.name} ({rule.severity}): {filled(rule.summary)}\n\n"
        f"{rule.why}{contract}{locks}\n\nInstead:\n\n"
        + "\n".join(f"    {line}".rstrip() for line in filled(rule.instead).splitlines())
    )


# ---- For programs


def _record(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "file": _file(finding.source),
        "line": finding.line,
        "revision": finding.source.revision,
        "sql": finding.sql[:MOST_SQL],
        "message": _message(finding),
        "instead": finding.instead,
    }


def json_(report: Report) -> str:
    suppressed = [{**_record(finding), "reason": finding.reason} for finding in report.suppressed]
    return json.dumps(
        {
            "findings": [_record(finding) for finding in report.findings],
            "suppressed": suppressed,
            "looked_at": [_file(source) for source in report.looked_at],
        },
        indent=2,
    )


def _advice(finding: Finding) -> str:
    return f"{_message(finding)}\n\nInstead:\n{finding.instead}"


SARIF_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
SARIF_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(report: Report) -> str:
    """SARIF 2.1.0 (OASIS), as code scanning services take it."""
    results = [_sarif_result(finding) for finding in (*report.findings, *report.suppressed)]
    rules = [
        {
            "id": rule.name,
            "shortDescription": {"text": filled(rule.summary)},
            "fullDescription": {"text": rule.why},
            "help": {"text": filled(rule.instead)},
            "defaultConfiguration": {"level": SARIF_LEVELS[rule.severity]},
        }
        for rule in RULES.values()
    ]
    driver = {"name": "migrator guard", "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_result(finding: Finding) -> dict[str, Any]:
    location = {
        "artifactLocation": {"uri": quote(_file(finding.source))},
        "region": {"startLine": finding.line},
    }
    result = {
        "ruleId": finding.rule,
        "level": SARIF_LEVELS[finding.severity],
        "message": {"text": _advice(finding)},
        "locations": [{"physicalLocation": location}],
    }
    if finding.reason:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.reason}]
    return result


def github(report: Report) -> str:
    """Workflow commands, which become annotations on the lines of a pull request."""
    commands = {"error": "error", "warning": "warning", "info": "notice"}
    lines = [
        f"::{commands[finding.severity]} file={_property(_file(finding.source))},"
        f"line={finding.line},title={_property(finding.rule)}"
        f"::{_data(_advice(finding))}"
        for finding in report.findings
    ]
    return "\n".join([*lines, summary(report)])


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def markdown(report: Report) -> str:
    """A summary for the page of a job."""
    lines = ["## Migration guard", "", summary(report)]
    if report.findings:
        lines += ["", "| | rule | where | what |", "|---|---|---|---|"]
        lines += [_row(finding.severity, finding, _message(finding)) for finding in report.findings]
        lines += [line for finding in report.findings for line in _details(finding)]
    if report.suppressed:
        lines += ["", "Permitted:", "", "| | rule | where | why |", "|---|---|---|---|"]
        lines += [_row(finding.severity, finding, finding.reason) for finding in report.suppressed]
    return "\n".join(lines)


def _row(severity: str, finding: Finding, said: str) -> str:
    place = f"{_file(finding.source)}:{finding.line}"
    return f"| {severity} | {finding.rule} | {_cell(place)} | {_cell(said)} |"


def _cell(value: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(value.split()))


def _details(finding: Finding) -> Iterator[str]:
    title = f"{finding.rule} at {_file(finding.source)}:{finding.line}"
    escaped = title.replace("&", "&amp;").replace("<", "&lt;")
    longest = max((len(run) for run in re.findall("`+", finding.instead)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from ("", f"<details><summary>{escaped}</summary>", "", f"{fence}python")
    yield from (finding.instead, fence, "", "</details>")


FORMATS: dict[str, Callable[[Report], str]] = {
    "text": text,
    "json": json_,
    "sarif": sarif,
    "github": github,
    "markdown": markdown,
}


def fails(report: Report, level: str) -> bool:
    """Whether something was found that is at least as severe."""
    severe: Sequence[str] = LEVELS[: LEVELS.index(level) + 1]
    return any(finding.severity in severe for finding in report.findings)
