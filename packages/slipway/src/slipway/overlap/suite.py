"""Runs the tests of the version that is running against the schema to come."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from slipway.overlap.checkout import Checkout, last_line
from slipway.project.configuration import ProjectError
from slipway.scratch import Database

# The project's tests/conftest.py gives each worker a copy of the database of this name.
VARIABLE = "TEST_DATABASE_TEMPLATE"
PASSED, FAILED, NO_TESTS = 0, 1, 5


@dataclass(frozen=True)
class Suite:
    """How many tests ran, and the first line of what was wrong by the name of a test."""

    ran: int
    failures: Mapping[str, str]


def understands(old: Checkout) -> bool:
    """Whether the tests of this version can be given a schema."""
    conftests = (old.folder / "tests").rglob("conftest.py")
    return any(VARIABLE in file.read_text(encoding="utf-8") for file in conftests)


def run_tests(
    old: Checkout, variables: Mapping[str, str], schema: Database, before: Database
) -> Suite:
    """Run the tests on copies of `schema`; those that fail on `before` too do not count.

    Args:
        variables: those of `scratch.environment`, for an empty database on the server.

    Raises:
        ProjectError: they could not be run.
    """
    suite = _run(old, variables, schema)
    if not suite.failures:
        return suite
    already = _run(old, variables, before, "--last-failed").failures
    return Suite(
        suite.ran, {test: why for test, why in suite.failures.items() if test not in already}
    )


def _run(old: Checkout, variables: Mapping[str, str], schema: Database, *options: str) -> Suite:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.xml")
        done = old.run(
            *("-m", "pytest", "--quiet", f"--junitxml={results}", *options),
            variables={**variables, VARIABLE: schema.name},
        )
        if done.returncode == NO_TESTS:
            return Suite(0, {})
        if done.returncode not in (PASSED, FAILED) or not results.exists():
            raise ProjectError(f"the tests of {old.commit[:12]} could not run: {last_line(done)}")
        cases = list(ElementTree.parse(results).iter("testcase"))  # noqa: S314  pytest's own
    failures: dict[str, str] = {}
    for case in cases:
        for outcome in (*case.findall("failure"), *case.findall("error")):
            test = f"{case.get('classname')}.{case.get('name')}"
            failures.setdefault(test, _first_line(outcome.get("message", "")))
    ran = sum(case.find("skipped") is None for case in cases)
    return Suite(ran, failures)


def _first_line(message: str) -> str:
    """Of what pytest says of a failure, what is the same for all that have the same cause."""
    line = (message.strip().splitlines() or ["failed"])[0]
    return re.sub(r'^failed on \w+ with "|sqlalchemy\.exc\.\w+: \([\w.]+\) ', "", line)
