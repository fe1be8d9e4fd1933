"""`slipway rehearse`: try revisions on a scratch database, under traffic."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from slipway import output
from slipway.guard.judge import judge
from slipway.guard.report import to_report
from slipway.project import selection
from slipway.project.configuration import Configuration, ProjectError, from_arguments
from slipway.project.extras import require
from slipway.project.source import Source
from slipway.rehearse.model import RehearsalOptions, RehearsalResult
from slipway.rehearse.report import stats, terminal
from slipway.rehearse.report.html import page
from slipway.rehearse.rules import RULES
from slipway.report import Finding, Report, check, count

EPILOG = f"""\
{selection.EPILOG}
Databases are made and dropped on --server, or on the server that [tool.slipway] scratch-server
makes; never in DATABASE_URL. What comes before these revisions is applied first, every table gets
rows, and each revision then runs twice: alone, where PostgreSQL is asked what each statement does,
and while readers and writers of all tables are at work.

{output.EXIT_CODES}"""


def add_parser(commands: Any) -> None:
    """Add the command to `argparse`'s sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "rehearse",
        help="try migrations on a scratch database, under traffic",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    standard = RehearsalOptions()
    selection.add_arguments(parser)
    parser.add_argument("--server", metavar="URL", default="", help="where to make databases")
    parser.add_argument(
        "--rows",
        type=_number(0, 100_000_000),
        default=standard.rows,
        help="in each table (default %(default)s)",
    )
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--seed", type=Path, metavar="FILE", help="SQL that brings rows")
    rows.add_argument("--dump", type=Path, metavar="FILE", help="a dump for pg_restore")
    parser.add_argument(
        "--rate",
        type=_number(1, 10_000),
        default=standard.rate,
        help="requests per second to each table (default %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=_number(1, 100),
        default=standard.workers,
        help="readers and writers of each table (default %(default)s)",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the picture of it")
    parser.add_argument(
        "--with-guard",
        action="store_true",
        help="what the guard finds too, but for what the rehearsal disproves",
    )
    output.add_arguments(parser)
    parser.set_defaults(run=run, parser=parser)


def _number(least: int, most: int) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"give a number from {least} to {most}")
        return int(text)

    return number


def run(arguments: argparse.Namespace) -> int:
    """Rehearse what the arguments name, print it, and return the exit code."""
    if mistake := selection.mistake(arguments) or _mistake(arguments):
        arguments.parser.error(mistake)
    try:
        configuration = from_arguments(arguments)
        check(configuration.severities)
        chosen = selection.select(configuration, arguments)
        if not chosen.sources:
            verdict = "Nothing to rehearse: no revision is new (--all takes all of them)."
            return output.show(Report(title="rehearsal", verdict=verdict, rules=RULES), arguments)
        result = _rehearse(configuration, chosen, arguments)
        report = _report(result, chosen.sources)
        if arguments.with_guard:
            report = _with_guard(report, result, configuration, chosen)
        rehearsal = replace(result.rehearsal, verdict=report.verdict)
        if arguments.html:
            _write(arguments.html, page(rehearsal, report.findings))
    except ProjectError as reason:
        print(f"slipway rehearse: {reason}", file=sys.stderr)
        return output.FAILED
    if arguments.format == "text":
        terminal.show(rehearsal, Console(highlight=False))
    return output.show(report, arguments)


def _mistake(arguments: argparse.Namespace) -> str:
    for file in filter(None, (arguments.seed, arguments.dump)):
        if not file.exists():
            return f"{file}: no such file"
    if arguments.html and not arguments.html.absolute().parent.is_dir():
        return f"{arguments.html}: no such folder"
    return ""


def _rehearse(
    configuration: Configuration, chosen: selection.Selection, arguments: argparse.Namespace
) -> RehearsalResult:
    require("rehearse")
    # Only here, as they need the extra.
    from slipway.rehearse.run import rehearse, stages
    from slipway.scratch import scratch_server

    options = RehearsalOptions(
        rows=arguments.rows,
        rate=arguments.rate,
        workers=arguments.workers,
        seed=arguments.seed,
        dump=arguments.dump,
    )
    console = Console(stderr=True)
    with (
        scratch_server(configuration, arguments.server, "rehearse") as server,
        terminal.progress(console, stages(len(chosen.sources))) as begin,
    ):
        return rehearse(configuration, chosen.history, chosen.sources, server, options, begin)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"{file}: {error.strerror}") from error


# ---- The report


def _report(result: RehearsalResult, sources: Sequence[Source]) -> Report:
    rehearsal = result.rehearsal
    report = Report(
        title="rehearsal",
        verdict="",
        findings=result.findings,
        looked_at=tuple(source.file for source in sources),
        rules=RULES,
        details={
            "base": rehearsal.base,
            "postgresql": rehearsal.postgresql,
            "lock_timeout": rehearsal.lock_timeout,
            "rows": rehearsal.rows,
            "unfilled": result.unfilled,
            "silent": result.silent,
            "noise": asdict(stats.noise(rehearsal.requests)),
            "tables": [asdict(found) for found in stats.table_stats(rehearsal)],
            "statements": [_statement(step) for step in stats.statement_stats(rehearsal)],
        },
    )
    return replace(report, verdict=_verdict(report, result))


def _statement(step: stats.StatementStats) -> dict[str, Any]:
    file = output.relative(Path(step.statement.file))
    return {**asdict(step.statement), "file": file, "seconds": step.seconds, "runs": len(step.runs)}


def _verdict(report: Report, result: RehearsalResult) -> str:
    tables = stats.table_stats(result.rehearsal)
    revisions = count(len(report.looked_at), "revision")
    served = _served(tables) if tables else "there were no tables to request"
    untried = [f"not all rows in {problem}" for problem in result.unfilled]
    untried += [f"not all requests to {table}: {why}" for table, why in result.silent.items()]
    return (
        f"Rehearsed {revisions} on {count(len(result.rehearsal.rows), 'table')} of PostgreSQL "
        f"{result.rehearsal.postgresql}: {'; '.join([served, *untried])}; "
        f"{report.counts() or 'nothing found'}."
    )


def _served(tables: Sequence[stats.TableStats]) -> str:
    requests = sum(found.reads.requests + found.writes.requests for found in tables)
    failures = sum(found.failures for found in tables)
    longest = max(found.longest for found in tables)
    return f"{requests} requests, {failures or 'none'} failed, the longest took {longest:.2f} s"


def _with_guard(
    report: Report,
    result: RehearsalResult,
    configuration: Configuration,
    chosen: selection.Selection,
) -> Report:
    """The guard's findings beside the rehearsal's, without those that it disproves."""
    from slipway.rehearse.reconcile import clear  # only here, as it needs the extra

    judgement = judge(chosen.history, chosen.sources, configuration, difference=chosen.difference)
    guarded = to_report(judgement)
    kept, cleared = clear(
        guarded.findings,
        result.rehearsal.traced,
        result.rehearsal.rows,
        server=int(result.rehearsal.postgresql.partition(".")[0]),
        production=configuration.postgresql,
    )
    findings: list[Finding] = sorted(
        [*report.findings, *kept], key=lambda finding: (str(finding.file), finding.line)
    )
    both = replace(
        report,
        findings=tuple(findings),
        permitted=(*guarded.permitted, *cleared),
        rules={**guarded.rules, **report.rules},
    )
    return replace(both, verdict=_verdict(both, result))
