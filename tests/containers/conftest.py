"""Images of the default project and a database for them, made once for each worker."""

from collections.abc import Callable, Iterator

import pytest

from tests.containers.engine import Postgres, Stack, built, postgres, stack
from tests.project import Project


@pytest.fixture(scope="session")
def migrate_image(installed: Callable[..., Project]) -> Iterator[str]:
    with built(installed("billing-api").path, "migrate") as image:
        yield image


@pytest.fixture(scope="session")
def web_image(installed: Callable[..., Project]) -> Iterator[str]:
    with built(installed("billing-api").path, "web") as image:
        yield image


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def development(project: Project) -> Iterator[Stack]:
    with stack(project.path) as compose:
        yield compose
