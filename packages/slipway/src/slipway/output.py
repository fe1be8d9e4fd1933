"""A report in the forms that people and programs read."""

import argparse
import json
import linecache
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from slipway.report import LEVELS, Finding, Report, filled

CLEAN, FOUND, USAGE, FAILED = 0, 1, 2, 3
EXIT_CODES = """\
Exit codes: 0 nothing found at --fail-on or above, 1 something found, 2 wrong usage, 3 it could not
run.
"""
MOST_SQL = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all commands have which report findings."""
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--fail-on", choices=LEVELS, default="error")


def show(report: Report, arguments: argparse.Namespace) -> int:
    """Print a report as the options of `add_arguments` want it; return the exit code."""
    FORMATS[arguments.format](report, sys.stdout)
    if arguments.format in ("json", "sarif") and not report.looked_at:
        print(report.verdict, file=sys.stderr)
    return FOUND if report.fails(arguments.fail_on) else CLEAN


def relative(path: Path) -> str:
    """From the current folder, as editors and annotations want it."""
    here = Path.cwd()
    file = path.absolute()
    return (file.relative_to(here) if file.is_relative_to(here) else file).as_posix()


# ---- For people


def text(report: Report, stream: TextIO) -> None:
    """Write for a terminal, with colours if the stream is one."""
    from rich.console import Console  # only here: it is slow to import

    console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
    colours = {"error": "bold red", "warning": "yellow", "info": "cyan"}
    for finding in report.findings:
        console.print(f"{relative(finding.file)}:{finding.line}", style="bold", end=": ")
        console.print(f"{finding.severity}[{finding.rule}]", style=colours[finding.severity])
        console.print(f"  {_visible(finding.message)}")
        for number, line in _excerpt(finding):
            console.print(f"  {number:>4} | {_visible(line)}", style="dim")
        for line in _shortened(finding.sql):
            console.print(f"   SQL | {_visible(line)}", style="blue")
        console.print("  instead:", style="dim")
        for line in finding.instead.splitlines():
            console.print(f"      {_visible(line)}", style="green")
        console.print()
    for finding in report.permitted:
        place = f"{relative(finding.file)}:{finding.line}"
        console.print(f"{place}: permitted[{finding.rule}] {finding.reason}", style="dim")
    console.print(report.verdict, style="bold")


def _visible(line: str) -> str:
    """What a migration contains must not command the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda c: f"\\x{ord(c[0]):02x}", line)


def _excerpt(finding: Finding) -> Iterator[tuple[int, str]]:
    if line := linecache.getline(str(finding.file), finding.line).rstrip():
        yield finding.line, line


def _shortened(sql: str) -> list[str]:
    lines = sql[:500].splitlines()
    return [*lines[:5], "..."] if len(lines) > 5 or len(sql) > 500 else lines


# ---- For programs


def _record(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "file": relative(finding.file),
        "line": finding.line,
        "revision": finding.revision,
        "sql": finding.sql[:MOST_SQL],
        "message": finding.message,
        "instead": finding.instead,
    }


def json_(report: Report, stream: TextIO) -> None:
    suppressed = [{**_record(finding), "reason": finding.reason} for finding in report.permitted]
    parts = {
        "verdict": report.verdict,
        "findings": [_record(finding) for finding in report.findings],
        "suppressed": suppressed,
        "looked_at": [relative(source) for source in report.looked_at],
        **report.details,
    }
    print(json.dumps(parts, indent=2), file=stream)


def _advice(finding: Finding) -> str:
    return f"{finding.message}\n\nInstead:\n{finding.instead}"


SARIF_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
SARIF_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(report: Report, stream: TextIO) -> None:
    """SARIF 2.1.0 (OASIS), as code scanning services take it."""
    results = [_sarif_result(finding) for finding in (*report.findings, *report.permitted)]
    rules = [
        {
            "id": rule.name,
            "shortDescription": {"text": filled(rule.summary)},
            "fullDescription": {"text": rule.why},
            "help": {"text": filled(rule.instead)},
            "defaultConfiguration": {"level": SARIF_LEVELS[rule.severity]},
        }
        for rule in report.rules.values()
    ]
    driver = {"name": report.title, "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    print(json.dumps(log, indent=2), file=stream)


def _sarif_result(finding: Finding) -> dict[str, Any]:
    location = {
        "artifactLocation": {"uri": quote(relative(finding.file))},
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


def github(report: Report, stream: TextIO) -> None:
    """Workflow commands, which become annotations on the lines of a pull request."""
    commands = {"error": "error", "warning": "warning", "info": "notice"}
    lines = [
        f"::{commands[finding.severity]} file={_property(relative(finding.file))},"
        f"line={finding.line},title={_property(finding.rule)}"
        f"::{_data(_advice(finding))}"
        for finding in report.findings
    ]
    print(*lines, report.verdict, sep="\n", file=stream)


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def markdown(report: Report, stream: TextIO) -> None:
    """A summary for the page of a job."""
    lines = [f"## {report.title[0].upper()}{report.title[1:]}", "", report.verdict]
    if report.findings:
        lines += ["", "| | rule | where | what |", "|---|---|---|---|"]
        lines += [_row(finding.severity, finding, finding.message) for finding in report.findings]
        lines += [line for finding in report.findings for line in _details(finding)]
    if report.permitted:
        lines += ["", "Permitted:", "", "| | rule | where | why |", "|---|---|---|---|"]
        lines += [_row(finding.severity, finding, finding.reason) for finding in report.permitted]
    print(*lines, sep="\n", file=stream)


def _row(severity: str, finding: Finding, said: str) -> str:
    place = f"{relative(finding.file)}:{finding.line}"
    return f"| {severity} | {finding.rule} | {_cell(place)} | {_cell(said)} |"


def _cell(value: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(value.split()))


def _details(finding: Finding) -> Iterator[str]:
    title = f"{finding.rule} at {relative(finding.file)}:{finding.line}"
    escaped = title.replace("&", "&amp;").replace("<", "&lt;")
    longest = max((len(run) for run in re.findall("`+", finding.instead)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from ("", f"<details><summary>{escaped}</summary>", "", f"{fence}python")
    yield from (finding.instead, fence, "", "</details>")


FORMATS: dict[str, Callable[[Report, TextIO], None]] = {
    "text": text,
    "json": json_,
    "sarif": sarif,
    "github": github,
    "markdown": markdown,
}
