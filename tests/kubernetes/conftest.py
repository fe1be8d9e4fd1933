from collections.abc import Callable
from functools import cache
from pathlib import Path

import copier
import pytest

from tests.kubernetes.manifests import COMPONENTS, Manifests, rendered

Deploy = Callable[..., Manifests]


@pytest.fixture(scope="session")
def folder(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is only rendered."""
    folder = tmp_path_factory.mktemp("kubernetes") / "billing-api"
    copier.run_copy(str(template), folder, defaults=True, quiet=True)
    return folder


@pytest.fixture(scope="session")
def deploy(folder: Path) -> Deploy:
    """Render an overlay with components, once."""

    @cache
    def deploy(overlay: str, *components: str) -> Manifests:
        return rendered(folder, overlay, *components)

    return deploy


@pytest.fixture(scope="session")
def production(deploy: Deploy) -> Manifests:
    return deploy("production")


@pytest.fixture(scope="session")
def everything(deploy: Deploy) -> Manifests:
    return deploy("production", *COMPONENTS)
