"""The job of a project's CI that builds the images and starts the stack."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from packages.slipway.tests.processes import run
from tests.conftest import Render
from tests.containers.engine import inspect, stack, unique_name
from tests.project import status

pytestmark = pytest.mark.docker


def github(project: Path) -> list[str]:
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    steps = workflow["jobs"]["containers"]["steps"]
    return [step["run"] for step in steps if "run" in step and "if" not in step]


def gitlab(project: Path) -> list[str]:
    pipeline = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    return list(pipeline["containers"]["script"])


@pytest.mark.parametrize("commands", [github, gitlab])
def test_ci_builds_both_images_and_starts_the_stack(
    render: Render, commands: Callable[[Path], list[str]]
) -> None:
    project = render(ci=commands.__name__)

    with stack(project, IMAGE=unique_name(), VERSION="abc") as compose:
        for command in commands(project):
            run("sh", "-c", command, cwd=project, variables=compose.variables)

        assert status(f"{compose.url}/health/ready") == 200
        for name in ("{IMAGE}:{VERSION}", "{IMAGE}-migrate:{VERSION}"):
            assert inspect(name.format(**compose.variables))
