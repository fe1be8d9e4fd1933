"""Projects rendered from the working tree, uncommitted changes included."""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import copier
import hypothesis
import pytest

from packages.slipway.tests.browser import browser  # noqa: F401  a fixture
from packages.slipway.tests.processes import git, run
from packages.vendored_wheel import build
from tests.project import Project

ROOT = Path(__file__).parents[1]

Render = Callable[..., Path]
Once = Callable[[str, Callable[[Path], object]], Path]

# Two busy cores may take any time over one example.
hypothesis.settings.register_profile("slipway", deadline=None)
hypothesis.settings.load_profile("slipway")

# A shell lets what it runs in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a folder with a name once for all workers of a run; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, unfinished = shared / name, shared / f"{name}.unfinished"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return once


@pytest.fixture(scope="session")
def template(once: Once) -> Path:
    """The template as a plain folder (faster to render than a repository), with a fresh wheel."""
    return once("template", _copy_template)


def _copy_template(folder: Path) -> None:
    files = git("ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in files.split("\0"):
        if (ROOT / name).is_file() and name.startswith(("copier.yml", "template/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for stale in (folder / "template/vendor").iterdir():
        stale.unlink()
    build(folder / "template/vendor")


@pytest.fixture
def render(template: Path, tmp_path: Path) -> Render:
    """Render a project with the answers given, the others by default; Copier trusts nothing."""

    def render(folder: str = "billing-api", **answers: object) -> Path:
        project = tmp_path / folder
        copier.run_copy(str(template), project, data=answers, defaults=True, quiet=True)
        return project

    return render


@pytest.fixture(scope="session")
def installed(
    template: Path, once: Once, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Project]:
    """A project with these answers: rendered and locked once, installed once for each worker."""

    @cache
    def installed(folder: str, **answers: object) -> Project:
        # The name of the project is that of the folder.
        def make(parent: Path) -> None:
            copier.run_copy(str(template), parent / folder, data=answers, defaults=True, quiet=True)
            run("uv", "lock", "--quiet", cwd=parent / folder)

        path = tmp_path_factory.mktemp("installed") / folder
        name = "-".join(["rendered", folder, *(f"{k}={v}" for k, v in answers.items())])
        shutil.copytree(once(name, make) / folder, path, symlinks=True)
        project = Project(path)
        project.uv_run("true")
        project.commit()
        return project

    return installed


@pytest.fixture
def project(installed: Callable[..., Project]) -> Iterator[Project]:
    """The project of somebody who pressed Enter four times."""
    project = installed("billing-api")
    yield project
    project.restore()


@pytest.fixture
def bare_project(installed: Callable[..., Project]) -> Iterator[Project]:
    """The project of somebody who wants no example."""
    project = installed("Été & Fils", example=False, ci="gitlab")
    yield project
    project.restore()
