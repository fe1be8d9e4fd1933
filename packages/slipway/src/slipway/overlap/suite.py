"""Runs the tests of the version that is running against the schema to come."""

import re
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from slipway.overlap.checkout import Checkout, last_line
from slipway.overlap.rules import VARIABLE
from slipway.project.configuration import ProjectError
from slipway.scratch import ScratchDatabase, ScratchServer, environment

PASSED, FAILED, NO_TESTS = 0, 1, 5  # exit codes of pytest


@dataclass(frozen=True)
class Suite:
    """How many tests ran, and the first line of what was wrong by the name of a test."""

    ran: int
    failures: Mapping[str, str]


def copies_schema(old: Checkout) -> bool:
    """Whether the tests of this version copy the database that `VARIABLE` names."""
    conftests = (old.folder / "tests").rglob("conftest.py")
    return any(VARIABLE in file.read_text(encoding="utf-8") for file in conftests)


def run_tests(
    old: Checkout,
    server: ScratchServer,
    schema: ScratchDatabase,
    before: ScratchDatabase,
    command: str,
) -> Suite:
    """Run the tests on copies of `schema`; those that fail on `before` too do not count.

    Tests that do not copy the schema themselves get a copy as `DATABASE_URL`.

    Args:
        command: the command line that runs the tests, by default pytest.

    Raises:
        ProjectError: they could not be run.
    """
    arguments = _arguments(old, command or "python -m pytest --quiet")
    suite = _run(old, arguments, _variables(old, server, schema))
    if not suite.failures:
        return suite
    again = ["--last-failed"] if _is_pytest(arguments) else []
    already = _run(old, arguments + again, _variables(old, server, before)).failures
    return Suite(
        suite.ran, {test: why for test, why in suite.failures.items() if test not in already}
    )


def _variables(old: Checkout, server: ScratchServer, schema: ScratchDatabase) -> Mapping[str, str]:
    database = server.create() if copies_schema(old) else server.create(schema)
    # The tests may make databases beside it.
    variables = environment(database.url, old.folder, server.foreign())
    return {**variables, VARIABLE: schema.name}


def _arguments(old: Checkout, command: str) -> list[str]:
    """The command line as arguments of the Python of the version."""
    program, *arguments = shlex.split(command)
    if Path(program).name.startswith("python"):
        return arguments
    script = old.python.parent / program
    if not script.is_file():
        raise ProjectError(f"[tool.slipway.overlap] test: {old.commit[:12]} installs no {program}")
    return [str(script), *arguments]


def _is_pytest(arguments: list[str]) -> bool:
    return arguments[:2] == ["-m", "pytest"] or Path(arguments[0]).name == "pytest"


def _run(old: Checkout, arguments: list[str], variables: Mapping[str, str]) -> Suite:
    if not _is_pytest(arguments):
        done = old.run(*arguments, variables=variables)
        return Suite(1, {arguments[0]: last_line(done)} if done.returncode else {})
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.xml")
        done = old.run(*arguments, f"--junitxml={results}", variables=variables)
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
    """The part of pytest's message that is the same for all failures with one cause."""
    line = (message.strip().splitlines() or ["failed"])[0]
    return re.sub(r'^failed on \w+ with "|sqlalchemy\.exc\.\w+: \([\w.]+\) ', "", line)
