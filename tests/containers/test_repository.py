"""This repository's own Compose file: the default service, and the tests of the template."""

from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.containers.engine import Stack, stack
from tests.project import status

pytestmark = pytest.mark.docker


@pytest.fixture
def repository() -> Iterator[Stack]:
    with stack(ROOT) as compose:
        yield compose


def test_a_clone_serves_the_default_service_migrated(repository: Stack) -> None:
    repository("up", "--wait")

    assert status(f"{repository.url}/docs") == 200
    assert status(f"{repository.url}/api/v1/users") == 200
    assert repository("exec", "web", "id", "-u").stdout.strip() != "0"


def test_the_fast_tests_run_in_a_container(repository: Stack) -> None:
    """Some of them: one that starts a PostgreSQL, one that installs a project."""
    some = "test_replicas_that_start_at_once or test_without_a_database_url_alembic_says"

    done = repository("run", "--rm", "test", "-k", some)

    assert "2 passed" in done.stdout
    assert repository("run", "--rm", "--entrypoint", "id", "test", "-u").stdout.strip() != "0"
