"""The library on the Python of the images, which is newer than that of the other tests."""

import pytest

from packages.slipway.tests.processes import run
from tests.conftest import ROOT

pytestmark = pytest.mark.docker

COPY = """
mkdir -p /copy/template && cd /copy
cp -r /repository/packages /repository/pyproject.toml .
cp -r /repository/template/src template/
"""
# git: `overlap` checks out another version.
TEST = """
apt-get update -qq && apt-get install -y -qq --no-install-recommends git >/dev/null
pip install --quiet --root-user-action ignore uv
uv run --quiet --no-project --isolated \
    --with-requirements packages/slipway/tests/requirements.txt \
    pytest packages/slipway/tests -m representative --numprocesses 2 --dist loadfile
"""


def test_the_representative_tests_pass_on_python_3_14() -> None:
    printed = run(
        *("docker", "run", "--rm", "--volume", f"{ROOT}:/repository:ro", "python:3.14-slim"),
        *("sh", "-e", "-c", COPY + TEST),
        cwd=ROOT,
        seconds=900,
    ).stdout

    assert "Python 3.14." in printed
