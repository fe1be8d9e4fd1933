"""Which revisions a command is about: those of a branch, unless its arguments name others."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.project.configuration import Configuration, ProjectError, unknown
from slipway.project.history import Difference, History, compare, load
from slipway.project.source import Source

EPILOG = """\
Without FILE, --since or --all: the revisions that the base branch does not have, untracked files
included.
"""


@dataclass(frozen=True)
class Selection:
    """The revisions that were asked for, among all there are; `difference` is what git says."""

    history: History
    sources: tuple[Source, ...]
    difference: Difference | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `select` reads."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="these revisions")
    parser.add_argument("--since", metavar="REV", help="all revisions after this one")
    parser.add_argument("--all", action="store_true", help="all revisions after the baseline")
    parser.add_argument("--base", metavar="BRANCH", default="", help="the base branch")


def mistake(arguments: argparse.Namespace) -> str:
    """What is wrong with the options; nothing if they can be used."""
    if sum(map(bool, (arguments.files, arguments.since, arguments.all))) > 1:
        return "FILE, --since and --all exclude each other"
    missing = [file for file in arguments.files if not file.is_file()]
    return f"{missing[0]}: no such file" if missing else ""


def select(configuration: Configuration, arguments: argparse.Namespace) -> Selection:
    """Find the revisions that the options ask for.

    Raises:
        ProjectError: there is no such revision or branch, or a file cannot be read.
    """
    files = [file.resolve() for file in arguments.files]
    history = load(configuration, files)
    difference = _difference(configuration, history, arguments.base, needed=_by_git(arguments))
    selected = _select(arguments, configuration, history, difference, files)
    if files and difference:
        edited = tuple(source for source in difference.edited if source.file in files)
        difference = Difference(new=difference.new, edited=edited)
    return Selection(history, tuple(selected), difference)


def _by_git(arguments: argparse.Namespace) -> bool:
    return not (arguments.files or arguments.since or arguments.all)


def _difference(
    configuration: Configuration, history: History, base: str, *, needed: bool
) -> Difference | None:
    try:
        return compare(configuration, history, base)
    except ProjectError:
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
        skipped |= _up_to(history, [arguments.since], "--since")
    left = [source for source in history.sources if source.file not in skipped]
    if _by_git(arguments) and difference:
        return [source for source in left if source.file in difference.new]
    return left


def _up_to(history: History, revisions: Sequence[str], what: str) -> set[Path]:
    for revision in revisions:
        if revision not in history.by_id:
            raise ProjectError(f"{what}: there is no revision {unknown(revision, history.by_id)}")
    return {source.file for source in history.up_to(history.by_id[name] for name in revisions)}
