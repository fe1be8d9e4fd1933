"""`python -m migrator COMMAND`: a thin skin over what makes schema changes safe."""

import argparse
import os
import sys
from collections.abc import Sequence

from migrator import verify
from migrator.backfill import command as backfill
from migrator.guard import command as guard
from migrator.overlap import command as overlap
from migrator.rehearse import command as rehearse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, 3 where it could not run."""
    parser = argparse.ArgumentParser(prog="python -m migrator")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    guard.add_parser(commands)
    rehearse.add_parser(commands)
    overlap.add_parser(commands)
    backfill.add_parser(commands)
    verify.add_parser(commands)
    parsed = parser.parse_args(arguments)
    # What migrations contain is printed on any terminal and into any pipe.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    # A fault of ours is one line too, and no reason to let a migration pass.
    except Exception as error:
        print(f"migrator: {type(error).__name__}: {error}", file=sys.stderr)
        return 3
    return code


if __name__ == "__main__":
    sys.exit(main())
