"""`slipway backfill`: change many rows of the database that migrations go to."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import Any

from alembic import context
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from slipway.backfill.checkpoint import stopped_at
from slipway.backfill.definition import Backfill, load, names
from slipway.backfill.dry_run import DryRun, dry_run
from slipway.backfill.throttle import BATCH_SIZE, Limits
from slipway.backfill.walk import in_the_way
from slipway.backfill.walk import run as run_backfill
from slipway.project.configuration import ProjectError, alembic_config, from_arguments

DONE, UNFINISHED, FAILED = 0, 1, 3
ATTEMPTS = 10
EPILOG = """\
NAME is a file in migrations/backfills; without it, all are listed. A run that was interrupted goes
on where it stopped; rows that somebody holds are done at the end. Exit codes: 0 done, 1 not
finished since rows were held all the time, 2 wrong usage, 3 it could not run.
"""


def add_parser(commands: Any) -> None:
    """Add the command to `argparse`'s sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "backfill", help="change many rows in batches, while they are in use", epilog=EPILOG
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME")
    add("--dry-run", action="store_true", help="say what would be done, and change nothing")
    add(
        *("--batch-size",),
        **_number(int, least=1, most=10_000, default=BATCH_SIZE),
        help="rows that a transaction looks at, at most (default %(default)s)",
    )
    add(
        *("--batch-time",),
        **_number(float, least=0.01, most=60, default=0.5),
        help="seconds that a batch should take: slower ones become smaller (default %(default)s)",
    )
    add(
        *("--pause",),
        **_number(float, least=0, most=3600, default=0.1),
        help="seconds of rest after a batch that changed rows (default %(default)s)",
    )
    add(
        *("--max-rows-per-second",),
        **_number(float, least=0.01, most=1e6),
        help="rows that are changed per second, at most",
    )
    add(
        *("--max-lag",),
        **_number(float, least=0.1, most=86400, default=10),
        help="seconds that a standby may be behind before it is waited for (default %(default)s)",
    )
    add("--format", choices=["text", "json"], default="text")
    parser.set_defaults(run=run, parser=parser)


def _number(
    kind: type[int] | type[float], *, least: float, most: float, default: float | None = None
) -> dict[str, Any]:
    """An option with a number in these bounds."""

    def number(value: str) -> float:
        parsed = kind(value)
        if not least <= parsed <= most:
            raise argparse.ArgumentTypeError(f"{value} is not from {least:g} to {most:g}")
        return parsed

    return {"type": number, "default": default, "metavar": "N"}


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments name, print the outcome, and return the exit code."""
    try:
        configuration = from_arguments(arguments)
        config = alembic_config(configuration)
        script = ScriptDirectory.from_config(config)
        folder = configuration.backfills
        if arguments.name is None:
            print(*(names(folder) or [f"No backfill in {folder} yet."]), sep="\n")
            return DONE
        backfill = load(folder, arguments.name)
        work = _dry_run if arguments.dry_run else _run
        return _with_connection(config, script, lambda c: work(c, backfill, arguments))
    except (CommandError, ProjectError) as error:
        reason: object = error
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0]
    except SystemExit as end:
        # env.py ends the process with a code, or with what went wrong.
        if isinstance(end.code, int):
            raise
        reason = end.code
    print(f"slipway backfill: {reason}", file=sys.stderr)
    return FAILED


def _with_connection(
    config: Config, script: ScriptDirectory, work: Callable[[Connection], int]
) -> int:
    """Call a function with the connection of migrations/env.py, and return what it does."""
    codes = []

    def backfill(_revision: object, _context: object) -> list[Any]:
        connection = context.get_bind()
        connection.rollback()  # the revision was read
        codes.append(work(connection))
        return []

    with EnvironmentContext(config, script, fn=backfill, dont_mutate=True):
        script.run_env()
    [code] = codes
    return code


def _dry_run(connection: Connection, backfill: Backfill, arguments: argparse.Namespace) -> int:
    found = dry_run(connection, backfill, arguments.name, arguments.batch_size)
    if arguments.format == "json":
        print(json.dumps({"backfill": arguments.name, **asdict(found)}))
    else:
        print(_told(found))
    return DONE


def _told(found: DryRun) -> str:
    exact = "counting them took too long" if found.counted is None else f"exactly {found.counted:,}"
    start = f"after {', '.join(found.after)}, where it stopped" if found.after else "at the start"
    batches = "batches" if found.batches is None else f"about {found.batches:,} batches"
    lines = [
        f"{found.table}: {found.estimated:,} rows need it by the planner's estimate, {exact}.",
        f"It would begin {start} and go through {batches}, each:",
        *(f"  {statement}" for statement in found.statements),
        "PostgreSQL would run that as:",
        *(f"  {line}" for line in found.plan),
    ]
    if found.scans:
        lines.append("Each batch would read the whole table: look at the Seq Scan in the plan.")
    return "\n".join(lines)


def _run(connection: Connection, backfill: Backfill, arguments: argparse.Namespace) -> int:
    from slipway.backfill.progress import reported  # only here: rich is slow to import

    name, began = arguments.name, monotonic()
    limits = Limits(
        batch_size=arguments.batch_size,
        batch_time=arguments.batch_time,
        pause=arguments.pause,
        max_rows_per_second=arguments.max_rows_per_second,
        max_lag=arguments.max_lag,
    )
    holders: list[str] | None = None
    try:
        with reported(name) as report:
            changed = run_backfill(
                connection, backfill, name=name, limits=limits, attempts=ATTEMPTS, report=report
            )
    except DBAPIError as error:
        if not in_the_way(error):
            raise
        with connection.begin():
            changed = stopped_at(connection, name, backfill).changed
            rows = connection.execute(HOLDERS, {"name": backfill.table})
            holders = [f"pid {r.pid}, for {r.seconds} s, {r.state}: {r.query}" for r in rows]
    _show(arguments, changed, monotonic() - began, holders)
    return DONE if holders is None else UNFINISHED


def _show(
    arguments: argparse.Namespace, changed: int, seconds: float, holders: list[str] | None
) -> None:
    if arguments.format == "json":
        outcome = {
            "backfill": arguments.name,
            "state": "done" if holders is None else "unfinished",
            "changed": changed,
            "seconds": round(seconds, 3),
            "holders": holders or [],
        }
        print(json.dumps(outcome))
    elif holders is None:
        print(f"{arguments.name}: done, {changed:,} rows changed")
    else:
        print(f"{arguments.name}: {changed:,} rows changed, others were held at each attempt.")
        print("Try again when these have ended, or end them with pg_terminate_backend(pid):")
        print(*(f"  {holder}" for holder in holders or ["nobody is left"]), sep="\n")


# Who has written to the table, or locked rows of it, in a transaction that is open.
HOLDERS = text("""
SELECT DISTINCT pid, extract(epoch FROM now() - xact_start)::int AS seconds, state,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 200) AS query
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE relation = to_regclass(:name) AND granted AND mode <> 'AccessShareLock'
AND pid <> pg_backend_pid() ORDER BY seconds DESC
""")
