"""A folder for `devdb`; nothing that runs there survives the test."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from packages.slipway.tests.devdb.processes import Project
from packages.slipway.tests.processes import NOBODY, as_nobody, until
from slipway import devdb

SOURCE = str(Path(devdb.__file__).parents[2])


@pytest.fixture
def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    for name in ("DATABASE_URL", "ENVIRONMENT"):
        kept.pop(name, None)
    return kept | {"PYTHONPATH": SOURCE}


@pytest.fixture
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TMPDIR of the test; a short one, and its own, so that leftovers can be counted."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def project(tmp_path: Path, environment: dict[str, str], sockets: Path) -> Iterator[Project]:
    project = Project(tmp_path, environment | {"TMPDIR": str(sockets)})
    yield project
    end(project)


@pytest.fixture
def user_project(tmp_path: Path, environment: dict[str, str], sockets: Path) -> Iterator[Project]:
    """A folder of somebody who is not root, where the tests are run by root too."""
    if os.geteuid() == 0:
        for folder in (tmp_path, sockets):
            os.chown(folder, NOBODY, NOBODY)
    prefix = tuple(as_nobody())
    project = Project(tmp_path, environment | {"TMPDIR": str(sockets)}, prefix=prefix)
    yield project
    end(project)


def end(project: Project) -> None:
    for process in project.started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()
    until(project.gone)
