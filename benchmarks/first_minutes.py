"""What somebody waits for who follows the README: from the first command to the first answer."""

from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import ROOT, first_answer, here, ratio, rounds, seconds, table
from packages.slipway.tests.processes import run
from tests.project import Project
from tests.test_docs import README, URL, section, shown

WARM, COLD = "warm", "cold"
DOCS = "/docs"

INTRODUCTION = """\
## First five minutes

The {commands} commands of [Start](../README.md#start), with every answer by default, until \
`/docs` answers: {typed}. *Cold*: uv's cache is empty, so Copier and all packages are fetched, as \
fast as the package index sends them; *warm*: uv has had them all before. Python and uv are there. \
The steps are typed one by one, in a project of their own; the commands do them in one go. \
Seconds, medians of {rounds} interleaved rounds."""


def measure(quick: bool) -> str:
    count = 1 if quick else 3
    commands = [step.command for step in shown(section(README, "Start"))]
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        _typed(commands, cache)
        found = rounds(
            {WARM: partial(_follow, commands, cache), COLD: partial(_follow, commands, None)}, count
        )
    rows = []
    for name in found[WARM][0]:
        warm, cold = ([taken[name] for taken in found[cache]] for cache in (WARM, COLD))
        rows.append(
            [name, f"{median(warm):.1f}", f"{median(cold):.1f}", f"{ratio(cold, warm):.1f}"]
        )
    introduction = INTRODUCTION.format(
        commands=len(commands), rounds=count, typed=", ".join(f"`{c}`" for c in commands)
    )
    return "\n\n".join([introduction, here(), table(["", "warm", "cold", "times warm"], rows)])


def _follow(commands: list[str], cache: Path | None) -> dict[str, float]:
    """The seconds of each step, and of all as they are typed; without a cache, in a new one."""
    return {**_steps(commands, cache), "**all, as typed**": _typed(commands, cache)}


def _steps(commands: list[str], cache: Path | None) -> dict[str, float]:
    copy, change_folder, _ = commands
    with TemporaryDirectory() as folder:
        project = _project(Path(folder), change_folder, cache)
        migrate = ("devdb", "alembic", "upgrade", "head")
        return {
            "copy": _copy(project, copy),
            "packages": seconds(partial(project.uv_run, "true")),
            "database": seconds(partial(project.uv_run, "devdb", "true")),
            "migrations": seconds(partial(project.uv_run, *migrate)),
            "server": first_answer(project, "devdb", "python", "-m", "app", "--reload", path=DOCS),
        }


def _typed(commands: list[str], cache: Path | None) -> float:
    copy, change_folder, serve = commands
    with TemporaryDirectory() as folder:
        project = _project(Path(folder), change_folder, cache)
        copied = _copy(project, copy)
        return copied + first_answer(project, *serve.removeprefix("uv run ").split(), path=DOCS)


def _project(folder: Path, change_folder: str, cache: Path | None) -> Project:
    variables = {"UV_CACHE_DIR": str(cache or folder / "cache")}
    return Project(folder / change_folder.removeprefix("cd "), variables)


def _copy(project: Project, command: str) -> float:
    # The working tree, and not its newest release.
    command = f"{command.replace(URL, str(ROOT))} --defaults --vcs-ref HEAD"
    folder, variables = project.path.parent, project.variables
    return seconds(partial(run, "sh", "-c", command, cwd=folder, variables=variables))
