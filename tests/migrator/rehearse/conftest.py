"""One project for each module: its revisions lie side by side on the same tables."""

from collections.abc import Iterator

import pytest

from tests.migrator.rehearse.project import Rehearsed, Tracing, rehearsed


@pytest.fixture(scope="module")
def project(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    with rehearsed(server, tmp_path_factory.mktemp("rehearsed"), "rehearsed") as project:
        yield project


@pytest.fixture(scope="module")
def tracing(project: Rehearsed, server: str) -> Iterator[Tracing]:
    """Traces the code of an upgrade on a copy of the database, all in one process."""
    with Tracing(project, server) as tracing:
        yield tracing
