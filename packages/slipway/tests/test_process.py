"""Children end with their block, whatever they do and however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from packages.slipway.tests.processes import until
from slipway.process import KEPT, Child, environment, json_lines, run, started


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def child(code: str) -> AbstractContextManager[Child]:
    return json_lines(python(code))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


GRANDCHILD = """
import json, subprocess, time
other = subprocess.Popen(["sleep", "60"])
print(json.dumps(other.pid), flush=True)
time.sleep(60)
"""


def test_what_a_child_started_ends_with_the_block() -> None:
    with suppress(KeyboardInterrupt), child(GRANDCHILD) as one:
        grandchild = one.receive(30)
        assert is_alive(grandchild)
        raise KeyboardInterrupt

    until(lambda: not is_alive(grandchild), 5)
    assert not is_alive(one.process.pid)


def test_it_answers_a_line_for_a_line() -> None:
    echo = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    with child(echo) as one:
        for value in ({"a": [1, "\n"]}, None, "x" * 1_000_000):
            one.send(value)
            assert one.receive(30) == value
        one.close_input()
        with pytest.raises(EOFError):
            one.receive(30)
        assert one.exit_code() == 0


def test_lines_that_come_together_are_told_apart() -> None:
    with child("print('1\\n2\\n3')") as one:
        assert [one.receive(30) for _ in range(3)] == [1, 2, 3]


def test_a_child_that_is_silent_is_late() -> None:
    with child("import time; time.sleep(60)") as one, pytest.raises(TimeoutError):
        one.receive(0.1)


def test_a_child_that_writes_no_json_or_no_end_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with child("print('no json')") as one, pytest.raises(ValueError, match="Expecting"):
        one.receive(30)
    monkeypatch.setattr("slipway.process.LONGEST_LINE", 100_000)
    with (
        child("while True: print('x' * 9999, end='')") as one,
        pytest.raises(ValueError, match="100"),
    ):
        one.receive(30)


def test_a_child_that_died_says_its_last_line() -> None:
    with child("import sys; print('noise', file=sys.stderr); sys.exit('gone')") as one:
        one.process.wait()
        one.send("anybody there")

        with pytest.raises(EOFError):
            one.receive(30)
        assert (one.exit_code(), one.last_line()) == (1, "gone")


def test_a_child_that_only_closed_its_output_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.process.GRACE", 0.1)
    with child("import os, time; os.close(1); time.sleep(60)") as one:
        with pytest.raises(EOFError):
            one.receive(30)
        assert one.exit_code() == -signal.SIGKILL


def test_it_may_say_as_much_as_it_likes_and_little_is_kept() -> None:
    code = "import sys; sys.stderr.write('x' * 5_000_000 + '\\n' + 'y' * 9000); print(1)"
    with child(code) as one:
        assert one.receive(30) == 1
        one.exit_code()
        assert one.last_line() == "y" * KEPT


def test_a_program_runs_to_its_end(tmp_path: Path) -> None:
    done = run(python("import os, sys; print(os.getcwd()); sys.exit('no')"), cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (1, f"{tmp_path}\n", "no\n")
    with pytest.raises(FileNotFoundError):
        run(["no-such-program"])


def test_ctrl_c_lets_it_clean_up(tmp_path: Path) -> None:
    """As pytest drops its databases, which takes a while."""
    code = f"""
import os, signal, time
try:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
finally:
    time.sleep(0.3)
    open({str(tmp_path / "clean")!r}, "w")
"""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(python(code))
    finally:
        signal.signal(signal.SIGINT, before)

    assert (tmp_path / "clean").exists()


def test_an_interrupt_while_it_starts_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen

    def interrupted(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        begun.append(popen(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return begun[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), started(["sleep", "60"]):
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, before)

    assert begun[0].poll() == -signal.SIGKILL


def test_a_child_imports_what_this_process_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNWANTED", "x")
    found = environment({"A": "b"}, search_path=["", "/a", "/b"], without={"UNWANTED"})

    assert (found["A"], found["PYTHONPATH"]) == ("b", "/a:/b")
    assert "UNWANTED" not in found
    assert found["PATH"] == os.environ["PATH"]
    assert environment().get("PYTHONPATH") == os.environ.get("PYTHONPATH")
