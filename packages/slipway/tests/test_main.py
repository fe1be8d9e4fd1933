"""What the commands have in common, whatever they do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from packages.slipway.tests.processes import environment, one_line
from packages.slipway.tests.rows import ROOT
from slipway.__main__ import COMMANDS


def slipway(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipway", *arguments],
        cwd=folder,
        env=environment({"PYTHONPATH": str(ROOT / "template/src"), "COLUMNS": "200"}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage_and_no_project_have_the_same_exit_codes_everywhere(
    command: str, tmp_path: Path
) -> None:
    wrong = slipway(tmp_path, command, "--nonsense")
    assert wrong.returncode == 2
    if command == "init":  # it makes the project
        return

    nowhere = slipway(tmp_path, command)
    assert nowhere.returncode == 3
    assert one_line(nowhere.stderr)
    assert nowhere.stdout == ""


def test_a_report_that_nobody_reads_to_its_end_is_no_success() -> None:
    reads, writes = os.pipe()
    os.close(reads)

    done = subprocess.run(
        [sys.executable, "-m", "slipway", "guard", "--explain", "truncate"],
        cwd=ROOT / "template",
        env=environment({"PYTHONPATH": str(ROOT / "template/src")}),
        stdout=writes,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writes)

    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == b""


# The others do something, and say what.
@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("backfill", "init")])
def test_findings_come_in_the_same_forms_from_every_command(command: str, tmp_path: Path) -> None:
    told = slipway(tmp_path, command, "--help").stdout

    assert "--format {text,json,sarif,github,markdown}" in told
    assert "--fail-on {error,warning,info}" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_configuration_as_alembic_does(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "other.ini").write_text("[billing]\nscript_location = %(nowhere)s\n")

    before = slipway(tmp_path, "-c", "other.ini", "-n", "billing", command)
    after = slipway(tmp_path, command, "--config", "other.ini", "--name=billing")
    missing = slipway(tmp_path, "-c", "missing.ini", command)

    assert "nowhere" in before.stderr
    assert before.stderr == after.stderr
    assert before.returncode == after.returncode == missing.returncode == 3
    assert "missing.ini" in missing.stderr
