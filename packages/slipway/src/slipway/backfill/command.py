"""`slipway backfill`: change many rows of the database that migrations go to."""

import argparse
import json
import sys
from dataclasses import asdict
from time import monotonic
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from slipway.backfill import checkpoint
from slipway.backfill.definition import Backfill, list_backfills, load_backfill
from slipway.backfill.dry_run import DryRun, dry_run
from slipway.backfill.throttle import BATCH_SIZE, Limits
from slipway.backfill.walk import is_blocked
from slipway.backfill.walk import run as run_backfill
from slipway.connection import run_in_environment
from slipway.errors import MigrationError, message_of
from slipway.project.configuration import ProjectError, alembic_config, from_arguments

DONE, UNFINISHED, FAILED = 0, 1, 3
ATTEMPTS = 10
# For an env.py that sets no lock timeout: without one, a locked row is waited for without end.
LOCK_TIMEOUT = "1s"
EPILOG = """\
NAME is a file in the folder `backfills` beside env.py, or in that of the setting `backfills`;
without it, all are listed. A run that was interrupted continues where it stopped; rows that are
locked are changed at the end. Exit codes: 0 done, 1 not finished since rows stayed locked, 2 wrong
usage, 3 it could not run.
"""


def add_parser(commands: Any) -> None:
    """Add the command to `argparse`'s sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "backfill", help="change many rows in batches, while they are in use", epilog=EPILOG
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME")
    add("--dry-run", action="store_true", help="print what would be done, and change nothing")
    add(
        "--batch-size",
        help="largest number of rows that a transaction scans (default %(default)s)",
        **_number(int, least=1, most=10_000, default=BATCH_SIZE),
    )
    add(
        "--batch-time",
        help="seconds that a batch should take: slower ones become smaller (default %(default)s)",
        **_number(float, least=0.01, most=60, default=0.5),
    )
    add(
        "--pause",
        help="seconds of rest after a batch that changed rows (default %(default)s)",
        **_number(float, least=0, most=3600, default=0.1),
    )
    add(
        "--max-rows-per-second",
        help="largest number of rows that are changed per second",
        **_number(float, least=0.01, most=1e6),
    )
    add(
        "--max-lag",
        help="seconds that a standby may be behind before it is waited for (default %(default)s)",
        **_number(float, least=0.1, most=86400, default=10),
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
        config, folder = alembic_config(configuration), configuration.backfills
        if arguments.name is None:
            print(*(list_backfills(folder) or [f"No backfill in {folder} yet."]), sep="\n")
            return DONE
        backfill = load_backfill(folder, arguments.name)
        command = _dry_run if arguments.dry_run else _backfill

        def work(_migration: MigrationContext, connection: Connection) -> int:
            return command(connection, backfill, arguments)

        return run_in_environment(config, work)
    # Some env.py let the errors of the database pass, others end the process.
    except (CommandError, MigrationError, ProjectError, SQLAlchemyError, OSError) as error:
        reason: object = message_of(error)
    except SystemExit as end:
        # env.py ends the process with a code, or with what went wrong.
        if isinstance(end.code, int):
            raise
        reason = end.code
    print(f"slipway backfill: {reason}", file=sys.stderr)
    return FAILED


def _dry_run(connection: Connection, backfill: Backfill, arguments: argparse.Namespace) -> int:
    found = dry_run(connection, backfill, arguments.name, arguments.batch_size)
    if arguments.format == "json":
        print(json.dumps({"backfill": arguments.name, **asdict(found)}))
    else:
        print(_describe(found))
    return DONE


def _describe(found: DryRun) -> str:
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


def _backfill(connection: Connection, backfill: Backfill, arguments: argparse.Namespace) -> int:
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
    with connection.begin():
        connection.execute(SET_LOCK_TIMEOUT, {"lock_timeout": LOCK_TIMEOUT})
    try:
        with reported(name) as report:
            changed = run_backfill(
                connection, backfill, name=name, limits=limits, attempts=ATTEMPTS, report=report
            )
    except DBAPIError as error:
        if not is_blocked(error):
            raise
        with connection.begin():
            changed = checkpoint.read(connection, name, backfill).changed
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
        print(f"{arguments.name}: {changed:,} rows changed, others were locked at each attempt.")
        print("Try again when these have ended, or end them with pg_terminate_backend(pid):")
        print(*(f"  {holder}" for holder in holders or ["they have ended"]), sep="\n")


SET_LOCK_TIMEOUT = text("""
SELECT set_config('lock_timeout', :lock_timeout, false) WHERE current_setting('lock_timeout') = '0'
""")
# Sessions that have written to the table, or locked rows of it, in an open transaction.
HOLDERS = text("""
SELECT DISTINCT pid, extract(epoch FROM now() - xact_start)::int AS seconds, state,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 200) AS query
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE relation = to_regclass(:name) AND granted AND mode <> 'AccessShareLock'
AND pid <> pg_backend_pid() ORDER BY seconds DESC
""")
