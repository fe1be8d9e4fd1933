"""The document tells the truth about the running service, and clients can be generated from it."""

import sys
from pathlib import Path

import pytest

from tests.processes import run
from tests.project import Project

pytestmark = pytest.mark.slow

HOOKS = "tests.openapi_formats"


def test_the_service_does_what_its_document_says(project: Project) -> None:
    with project.served("just", "dev") as url:
        result = run(
            *(Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json"),
            *("--seed", "1", "--max-examples", "100", "--no-color"),
            cwd=Path(__file__).parents[1],
            check=False,
            variables={"SCHEMATHESIS_HOOKS": HOOKS},
        )

    assert result.returncode == 0, result.stdout
