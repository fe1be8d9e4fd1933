"""What somebody waits for who follows the README: from the first command to the first answer."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness import ROOT, here, ratio, rounds, seconds, table
from tests.processes import run
from tests.project import Project
from tests.test_docs import README, URL, section, shown

WARM, COLD = "warm", "cold"
TOTAL = "**all, as typed**"

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
        warm = Path(folder) / "warm"
        _typed(commands, warm)
        found = rounds(
            {
                (cache, measured): partial(measured, commands, warm if cache == WARM else None)
                for cache in (WARM, COLD)
                for measured in (_steps, _typed)
            },
            count,
        )
    names = {name: measured for measured in (_steps, _typed) for name in found[WARM, measured][0]}
    rows = []
    for name, measured in names.items():
        warm_times, cold_times = (
            [taken[name] for taken in found[cache, measured]] for cache in (WARM, COLD)
        )
        times = f"{ratio(cold_times, warm_times):.1f}"
        rows.append([name, f"{median(warm_times):.1f}", f"{median(cold_times):.1f}", times])
    introduction = INTRODUCTION.format(
        commands=len(commands), rounds=count, typed=", ".join(f"`{c}`" for c in commands)
    )
    return "\n\n".join([introduction, here(), table(["", "warm", "cold", "times warm"], rows)])


def _typed(commands: list[str], cache: Path | None) -> dict[str, float]:
    copy, change_folder, serve = commands
    with TemporaryDirectory() as folder:
        variables = {"UV_CACHE_DIR": str(cache or f"{folder}/cache")}
        began = time.perf_counter()
        _copy(copy, Path(folder), variables)
        project = Project(Path(folder) / change_folder.removeprefix("cd "), variables)
        with project.served(*serve.removeprefix("uv run ").split(), path="/docs"):
            return {TOTAL: time.perf_counter() - began}


def _steps(commands: list[str], cache: Path | None) -> dict[str, float]:
    copy, change_folder, _ = commands
    with TemporaryDirectory() as folder:
        variables = {"UV_CACHE_DIR": str(cache or f"{folder}/cache")}
        project = Project(Path(folder) / change_folder.removeprefix("cd "), variables)
        sync = partial(run, "uv", "sync", cwd=project.path, variables=variables)
        steps: dict[str, Callable[[], object]] = {
            "copy": partial(_copy, copy, Path(folder), variables),
            "packages": sync,
            "database": partial(project.uv_run, "devdb", "true"),
            "migrations": partial(project.uv_run, "devdb", "alembic", "upgrade", "head"),
            "server": partial(_serve, project),
        }
        return {name: seconds(step) for name, step in steps.items()}


def _copy(command: str, folder: Path, variables: dict[str, str]) -> None:
    # The working tree, and not its newest release.
    command = f"{command.replace(URL, str(ROOT))} --defaults --vcs-ref HEAD"
    run("sh", "-c", command, cwd=folder, variables=variables)


def _serve(project: Project) -> None:
    with project.served("devdb", "python", "-m", "app", "--reload", path="/docs"):
        pass
