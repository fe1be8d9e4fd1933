"""`slipway guard`: judge revisions without a database."""

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slipway import output
from slipway.guard.judge import judge
from slipway.guard.report import to_report
from slipway.guard.squawk import second_opinion
from slipway.output import CLEAN, EXIT_CODES, FAILED
from slipway.project import selection
from slipway.project.configuration import ProjectError, from_arguments, unknown
from slipway.report import Report, check, every_rule
from slipway.rule_pages import page

EPILOG = f"""\
{selection.EPILOG}{EXIT_CODES}
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
    selection.add_arguments(parser)
    output.add_arguments(parser)
    parser.add_argument("--explain", metavar="RULE", help="print what a rule is about, and end")
    parser.add_argument("--squawk", action="store_true", help="ask squawk for a second opinion")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge what the arguments name, print it, and return the exit code."""
    error = arguments.parser.error
    if arguments.explain:
        rules = every_rule()
        if arguments.explain not in rules:
            error(f"there is no rule {unknown(arguments.explain, rules)}")
        print(page(rules[arguments.explain]), end="")
        return CLEAN
    if mistake := selection.mistake(arguments):
        error(mistake)
    try:
        with _collector_at_rest():
            found = guard(arguments)
    except ProjectError as reason:
        print(f"slipway guard: {reason}", file=sys.stderr)
        return FAILED
    return output.show(found, arguments)


def guard(arguments: argparse.Namespace) -> Report:
    """Judge what the arguments name."""
    configuration = from_arguments(arguments)
    check(configuration.severities)
    selected = selection.select(configuration, arguments)
    judgement = judge(
        selected.history,
        selected.sources,
        configuration,
        difference=selected.difference,
        whole_chain=not arguments.files,
        second_opinion=second_opinion(configuration.postgresql) if arguments.squawk else None,
    )
    return to_report(judgement, configuration.documentation)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Nothing here makes cycles, and to look for some in the syntax trees of a long history takes
    the longer the more there are."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
