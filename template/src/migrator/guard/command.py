"""`python -m migrator guard`: judge revisions without a database."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migrator.guard import output
from migrator.guard.configuration import Configuration, GuardError, load
from migrator.guard.history import Difference, History, compare
from migrator.guard.history import load as load_history
from migrator.guard.judge import Report, judge
from migrator.guard.rule import RULES
from migrator.guard.source import Source
from migrator.guard.squawk import second_opinion

CLEAN, FOUND, USAGE, FAILED = 0, 1, 2, 3
EPILOG = """\
Without FILE, --since or --all: the revisions that the base branch does not have, untracked files
included. Exit codes: 0 nothing found at --fail-on or above, 1 something found, 2 wrong usage,
3 the guard could not run.

To permit something: `# guard: allow[RULE] reason` at the end of its statement, within it or on the
line before; alone on a line outside all functions, it is for the file. A revision with
`phase = "contract"` may drop and rename.
"""


def add_parser(commands: Any) -> None:
    """Add the command to `argparse`'s sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "guard",
        help="say what migrations would lock, rewrite, lose or break",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="these revisions")
    parser.add_argument("--since", metavar="REV", help="all revisions after this one")
    parser.add_argument("--all", action="store_true", help="all revisions after the baseline")
    parser.add_argument("--base", metavar="BRANCH", default="", help="the base branch")
    parser.add_argument("--format", choices=output.FORMATS, default="text")
    parser.add_argument("--fail-on", choices=output.LEVELS, default="error")
    parser.add_argument("--explain", metavar="RULE", help="print what a rule is about, and end")
    parser.add_argument("--squawk", action="store_true", help="ask squawk for a second opinion")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge what the arguments name, print it, and return the exit code."""
    error = arguments.parser.error
    if arguments.explain:
        if arguments.explain not in RULES:
            error(f"no rule {arguments.explain!r}; there are: {', '.join(sorted(RULES))}")
        print(output.explain(RULES[arguments.explain]))
        return CLEAN
    if sum(map(bool, (arguments.files, arguments.since, arguments.all))) > 1:
        error("FILE, --since and --all exclude each other")
    for file in arguments.files:
        if not file.is_file():
            error(f"{file}: no such file")
    try:
        report = _judge(arguments)
    except GuardError as reason:
        print(f"migrator guard: {reason}", file=sys.stderr)
        return FAILED
    if printed := output.FORMATS[arguments.format](report):
        print(printed)
    if not report.looked_at and arguments.format in ("json", "sarif"):
        print(output.summary(report), file=sys.stderr)
    return FOUND if output.fails(report, arguments.fail_on) else CLEAN


def _judge(arguments: argparse.Namespace) -> Report:
    configuration = load(Path.cwd(), frozenset(RULES))
    files = [file.resolve() for file in arguments.files]
    history = load_history(configuration, files)
    difference = _difference(configuration, history, arguments.base, needed=_by_git(arguments))
    selected = _select(arguments, configuration, history, difference, files)
    if files and difference:
        edited = tuple(source for source in difference.edited if source.file in files)
        difference = Difference(new=difference.new, edited=edited)
    return judge(
        history,
        selected,
        configuration,
        difference=difference,
        whole_chain=not files,
        second_opinion=second_opinion(configuration.postgresql) if arguments.squawk else None,
    )


def _by_git(arguments: argparse.Namespace) -> bool:
    return not (arguments.files or arguments.since or arguments.all)


def _difference(
    configuration: Configuration, history: History, base: str, *, needed: bool
) -> Difference | None:
    try:
        return compare(configuration, history, base)
    except GuardError:
        if needed or base:
            raise
        return None


def _select(
    arguments: argparse.Namespace,
    configuration: Configuration,
    history: History,
    difference: Difference | None,
    files: Sequence[Path],
) -> list[Source]:
    if files:
        return [source for source in history.sources if source.file in files]
    skipped = _up_to(history, configuration.baseline, "baseline")
    if arguments.since:
        skipped |= _up_to(history, arguments.since, "--since")
    left = [source for source in history.sources if source.file not in skipped]
    if _by_git(arguments) and difference:
        return [source for source in left if source.file in difference.new]
    return left


def _up_to(history: History, revision: str, what: str) -> set[Path]:
    if not revision:
        return set()
    if revision not in history.by_id:
        raise GuardError(f"{what}: there is no revision {revision!r}")
    return {source.file for source in history.up_to([history.by_id[revision]])}
