"""Notes what a migration runs, in the process that runs it: `env.py` imports this module."""

import atexit
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

from slipway.locks import from_catalogue, strongest

STATE = """
SELECT c.relname, c.relfilenode::bigint, coalesce(s.seq_tup_read, 0), l.mode
FROM pg_class AS c
LEFT JOIN pg_stat_xact_user_tables AS s ON s.relid = c.oid
LEFT JOIN pg_locks AS l ON l.relation = c.oid AND l.pid = pg_backend_pid() AND l.granted
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'alembic_version'
"""
Rows = list[tuple[str, int, int, str | None]]

statements: list[dict[str, Any]] = []
applied: list[dict[str, Any]] = []
before: Rows = []


@event.listens_for(Engine, "before_cursor_execute")
def begin(connection: sa.Connection, _cursor: object, sql: str, *_: object) -> None:
    if not (place := _place()):
        return
    before[:] = _state(connection)
    statements.append(
        {
            **place,
            "sql": sql,
            "autocommit": "CONCURRENTLY" in sql,
            "started": time.monotonic(),
        }
    )


@event.listens_for(Engine, "after_cursor_execute")
def end(connection: sa.Connection, _cursor: object, sql: str, *_: object) -> None:
    if _place():
        statement = statements[-1]
        statement["seconds"] = time.monotonic() - statement["started"]
        statement |= _difference(before, _state(connection))
        if statement["autocommit"]:
            # They are gone by now; it is what the manual says.
            statement["locks"] = {sql.split(" ON ")[1].split()[0]: "SHARE UPDATE EXCLUSIVE"}
    elif statements and sql.startswith(("INSERT INTO alembic_version", "UPDATE alembic_version")):
        revision = statements[-1]["revision"]
        mine = [one for one in statements if one["revision"] == revision]
        applied.append(
            {
                **{key: statements[-1][key] for key in ("revision", "file")},
                "message": "",
                "phase": "",
                "started": mine[0]["started"],
                "seconds": time.monotonic() - mine[0]["started"],
                "attempts": sum("error" in one for one in mine) + 1,
            }
        )


@event.listens_for(Engine, "handle_error")
def fail(context: Any) -> None:
    if _place():
        statement = statements[-1]
        statement["seconds"] = time.monotonic() - statement["started"]
        statement["error"] = str(context.original_exception)


def _place() -> dict[str, Any]:
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "versions":
            revision = frame.f_globals["revision"]
            return {"revision": revision, "file": f"versions/{path.name}", "line": frame.f_lineno}
    return {}


def _state(connection: sa.Connection) -> Rows:
    cursor = connection.connection.cursor()
    cursor.execute(STATE)
    return [tuple(row) for row in cursor.fetchall()]


def _difference(before: Rows, after: Rows) -> dict[str, Any]:
    files = {name: file for name, file, _, _ in before}
    scanned = {name: rows for name, _, rows, _ in before}
    old = {row[0]: row for row in after if row[0] in files}
    locks, held = _locks(after), _locks(before)
    return {
        "locks": {table: mode for table, mode in locks.items() if held.get(table) != mode},
        "held": held,
        "rewritten": [name for name, row in old.items() if row[1] != files[name]],
        "scanned": {n: row[2] - scanned[n] for n, row in old.items() if row[2] > scanned[n]},
    }


def _locks(rows: Rows) -> Mapping[str, str]:
    each = [{name: from_catalogue(mode)} for name, _, _, mode in rows if mode]
    return {table: mode.name for table, mode in strongest(*each).items()}


@atexit.register
def write() -> None:
    report = {"statements": statements, "applied": applied}
    Path(os.environ["RECORD"]).write_text(json.dumps(report))
