"""How long the service takes to import and to answer, beside a small one written by hand."""

import fcntl
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import ROOT, first_answer, machine, ratio, rendered, rounds, seconds, table
from packages.slipway.tests.processes import run
from slipway import devdb
from tests.project import Project

PEER, OURS = "FastAPI + SQLAlchemy async, by hand, tuned", "**the generated service**"
IMPORTS = {
    "Python alone": "pass",
    PEER: "import benchmarks.peers.tuned",
    OURS: "import app.main",
}
UVICORN = ("uvicorn", f"--app-dir={ROOT}", "benchmarks.peers.tuned:app")
USERS = "/api/v1/users"

INTRODUCTION = """\
## Cold start

The peer is the application that the throughput is compared with: three routes, one table, no \
migrations. Medians of {rounds} interleaved rounds."""
IMPORTING = """\
### Import

Seconds of a process that imports the application and ends. *Without `.pyc`*: no file has been \
compiled, those of the standard library included, as on the first start of an image that does not \
compile; the template's image does."""
STARTING = """\
### From the command to the first 200

Seconds from the command, `uv run` included, until `GET /api/v1/users` has read the database; \
asked every 0.05 s. `just dev` also starts the database, applies the migrations and watches the \
code. From `docker run` to the first answer: [containers.md](containers.md)."""


def measure(quick: bool) -> str:
    count = 1 if quick else 5
    with rendered() as project, devdb.temporary_server() as database:
        project.uv_run("alembic", "upgrade", "head", DATABASE_URL=database)
        sections = [_imports(project, count), _starts(project, database, count)]
        facts = machine(project)
    return "\n\n".join([INTRODUCTION.format(rounds=count), facts, *sections])


def _imports(project: Project, count: int) -> str:
    with TemporaryDirectory() as empty:
        fresh = {"PYTHONPYCACHEPREFIX": empty, "PYTHONDONTWRITEBYTECODE": "1"}
        for code in IMPORTS.values():  # compiles what it imports
            _import(project, code)
        found = rounds(
            {
                (name, compiled): partial(
                    seconds, partial(_import, project, code, **({} if compiled else fresh))
                )
                for name, code in IMPORTS.items()
                for compiled in (True, False)
            },
            count,
        )
    rows = []
    for name in IMPORTS:
        compiled, fresh_times = found[name, True], found[name, False]
        rows.append(
            [
                name,
                f"{median(compiled):.2f}",
                f"{ratio(compiled, found[PEER, True]):.2f}",
                f"{median(fresh_times):.2f}",
                f"{ratio(fresh_times, compiled):.1f}",
            ]
        )
    header = ["", "compiled, s", "times the peer", "without `.pyc`, s", "times compiled"]
    return f"{IMPORTING}\n\n{table(header, rows)}"


def _import(project: Project, code: str, **variables: str) -> None:
    python = project.path / ".venv/bin/python"
    # Nothing connects while it is imported.
    named = {"DATABASE_URL": "postgresql://app@localhost/app", "PYTHONPATH": str(ROOT)}
    run(python, "-c", code, cwd=project.path, variables={**named, **variables})


def _starts(project: Project, database: str, count: int) -> str:
    running = partial(first_answer, project, path=USERS, DATABASE_URL=database)
    peer, ours = f"{PEER}: `uvicorn`", f"{OURS}: `python -m app`"
    peer_in_development = f"{PEER}: `uvicorn --reload`"
    developed: dict[str, Callable[[], float]] = {
        peer_in_development: partial(running, *UVICORN, "--reload"),
        "`just dev`, on a database that is stopped and migrated": partial(_dev, project),
        "`just dev`, without a database": partial(_dev_without_database, project),
    }
    served: dict[str, Callable[[], float]] = {
        peer: partial(running, *UVICORN),
        ours: partial(running, "python", "-m", "app"),
    }
    _dev_without_database(project)
    found = rounds({**served, **developed}, count)
    rows = [
        [name, f"{median(times):.2f}", f"{ratio(times, found[beside]):.2f}"]
        for names, beside in [(served, peer), (developed, peer_in_development)]
        for name, times in [(name, found[name]) for name in names]
    ]
    return f"{STARTING}\n\n{table(['', 's', 'times the peer'], rows)}"


def _dev(project: Project) -> float:
    taken = first_answer(project, "just", "dev", path=USERS)
    with Path(project.path / ".devdb/supervisor.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the server has stopped
    return taken


def _dev_without_database(project: Project) -> float:
    shutil.rmtree(project.path / ".devdb", ignore_errors=True)
    return _dev(project)
