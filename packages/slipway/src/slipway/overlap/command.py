"""`slipway overlap`: hold the version that is running against the schema to come."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from slipway import output, process, scratch
from slipway.overlap.rules import RULES, VARIABLE
from slipway.project import history
from slipway.project.configuration import Configuration, ProjectError, from_arguments
from slipway.project.extras import require
from slipway.project.source import Source
from slipway.report import Finding, Report, check, count, severe

if TYPE_CHECKING:
    from slipway.overlap.rollout import RolloutFailure
    from slipway.overlap.trial import Trial

EPILOG = f"""\
BASE is where this branch left it; it is checked out beside the working tree, with an environment of
its own. On a scratch database with its schema and rows,

  - it serves, with all its statements prepared, while the new revisions are applied;
  - its tests run on what they made of an empty one.

Nothing of either may fail. Databases are made and dropped on --server, or on the server that
[tool.slipway] scratch-server makes; never in DATABASE_URL.

{output.EXIT_CODES}"""


def add_parser(commands: Any) -> None:
    """Add the command to `argparse`'s sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "overlap",
        help="run the version of another git ref on the schema of this one",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "base", nargs="?", default="", metavar="BASE", help="a git ref; by default the base branch"
    )
    parser.add_argument("--server", metavar="URL", default="", help="where to make databases")
    output.add_arguments(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Try what the arguments name, print what was found, and return the exit code."""
    try:
        configuration = from_arguments(arguments)
        check(configuration.severities)
        found = overlap(configuration, arguments.base, arguments.server)
    except ProjectError as reason:
        print(f"slipway overlap: {reason}", file=sys.stderr)
        return output.FAILED
    return output.show(found, arguments)


def overlap(configuration: Configuration, base: str, server: str) -> Report:
    """Hold the version at `base` against the revisions that came after it.

    Raises:
        ProjectError: it could not be trial.
    """
    top = _repository(configuration.root)
    every = history.load(configuration)
    # What is in no chain would not be missed.
    unreadable = [(source, source.error) for source in every.sources if source.error]
    for source, problem in (*unreadable, *every.breaks()):
        raise ProjectError(f"{source.file.name}: {problem}")
    difference = history.compare(configuration, every, base)
    new = [source for source in every.up_to(every.heads) if source.file in difference.new]
    if not new:
        return Report(
            title="overlap",
            verdict="Nothing to try: no revision is new.",
            rules=RULES,
        )
    commit = history.base_commit(top, base or configuration.base_branch)
    require("rehearse")
    from slipway.overlap.trial import try_version  # only here: it needs the extra

    with scratch.scratch_server(configuration, server, "overlap") as made:
        trial = try_version(made, top, configuration, commit, new)
    return _report(trial, new, configuration.severities)


def _repository(root: Path) -> Path:
    if not which("git"):
        raise ProjectError("git is not installed, and knows the version that is running")
    done = process.run(["git", "rev-parse", "--show-toplevel"], cwd=root)
    if done.returncode:
        raise ProjectError(f"{root} is in no git repository, which would know the running version")
    return Path(done.stdout.strip())


# ---- The report


def _report(trial: Trial, new: list[Source], severities: Mapping[str, str]) -> Report:
    found = tuple(severe(_findings(trial, new[-1]), severities))
    suite = trial.suite
    report = Report(
        title="overlap",
        verdict="",
        findings=found,
        looked_at=tuple(source.file for source in new),
        rules=RULES,
        details={
            "version": trial.version,
            "tests": suite.ran if suite else None,
            "failed_tests": dict(suite.failures) if suite else {},
            "untried_tables": trial.rollout.untried,
        },
    )
    return replace(report, verdict=_verdict(report, trial))


def _findings(trial: Trial, newest: Source) -> Iterator[Finding]:
    by_cause: dict[tuple[Path, str, str], list[RolloutFailure]] = {}
    for failure in trial.rollout.failures:
        cause = (failure.revision.file, failure.table, failure.error)
        by_cause.setdefault(cause, []).append(failure)
    for failures in by_cause.values():
        yield _of_service(failures, trial.version)
    by_error: dict[str, list[str]] = {}
    for test, error in (trial.suite.failures if trial.suite else {}).items():
        by_error.setdefault(error, []).append(test)
    for error, tests in by_error.items():
        others = f" and {count(len(tests) - 1, 'other')}" if len(tests) > 1 else ""
        # Which revision did it is not known: the tests see what all of them made.
        yield _finding("old-test-fails", newest, f"{tests[0]}{others}, of {trial.version}: {error}")


def _of_service(failures: Sequence[RolloutFailure], version: str) -> Finding:
    first = failures[0]
    if not first.kind:
        return _finding("upgrade-fails", first.revision, first.error)
    name = "stale-plan" if first.is_stale else "old-version-fails"
    if all(failure.is_narrower for failure in failures):
        name = "narrower-values"
    kinds = ", ".join(failure.kind for failure in failures)
    message = f"{first.table}: {kinds}, as {version} sends it: {first.error}"
    return _finding(name, first.revision, message, first.sql)


def _finding(name: str, source: Source, message: str, sql: str = "") -> Finding:
    rule = RULES[name]
    return Finding(
        rule=name,
        severity=rule.severity,
        message=message,
        instead=rule.instead,
        file=source.file,
        line=source.line_of("upgrade"),
        revision=source.revision,
        sql=sql,
    )


def _verdict(report: Report, trial: Trial) -> str:
    revisions = count(len(report.looked_at), "new revision")
    if trial.suite:
        tests = f"{count(trial.suite.ran, 'test')} of {trial.version}"
    elif trial.has_tests:
        tests = f"no tests of {trial.version}"
    else:
        tests = (
            f"not its tests: tests/conftest.py of {trial.version} does not read {VARIABLE}, and "
            "[tool.slipway.overlap] has no `test`"
        )
    untried = trial.rollout.untried
    tables = f", without all statements for {', '.join(untried)}" if untried else ""
    found = report.counts() or "nothing failed"
    return f"{trial.version} on {revisions}, serving and {tests}{tables}: {found}."
