"""`slipway COMMAND`: a thin skin over what makes schema changes safe."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from slipway import interrupts
from slipway.project import configuration

COMMANDS = {
    "guard": "slipway.guard.command",
    "rehearse": "slipway.rehearse.command",
    "overlap": "slipway.overlap.command",
    "backfill": "slipway.backfill.command",
    "verify": "slipway.verify",
    "init": "slipway.init.command",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, 3 where it could not run."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
    # Whoever read the report went away before its end, and so before its exit code.
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    # A fault of ours is one line too, and no reason to let a migration pass.
    except Exception as error:
        from slipway.errors import MigrationError  # only here: it imports SQLAlchemy

        kind = "" if isinstance(error, MigrationError) else f"{type(error).__name__}: "
        print(f"slipway: {kind}{error}", file=sys.stderr)
        return 3


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="slipway")
    configuration.add_arguments(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    # The others are not imported: that would take longer than most of what they do.
    wanted = _command(arguments)
    for name in [wanted] if wanted in COMMANDS else COMMANDS:
        import_module(COMMANDS[name]).add_parser(commands)
    for command in commands.choices.values():
        # Before or after the command's name; what is not given after it is left as it is.
        configuration.add_arguments(command, default=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    # What migrations contain is printed on any terminal and into any pipe.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code: int = parsed.run(parsed)
    sys.stdout.flush()
    return code


def _command(arguments: Sequence[str]) -> str:
    """The first argument that is neither an option of all commands nor its value."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    configuration.add_arguments(parser)
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    try:
        return "".join(parser.parse_known_args(arguments)[0].rest[:1])
    except argparse.ArgumentError:
        return ""


def program() -> None:
    """Run as the command `slipway`: the first Ctrl-C or SIGTERM interrupts, later ones do not."""
    interrupts.install()
    sys.exit(main())


if __name__ == "__main__":
    program()
