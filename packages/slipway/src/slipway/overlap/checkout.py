"""The version that is running, as files beside the working tree, with an environment of its own."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slipway import interrupts, redirect
from slipway.project.configuration import ProjectError

# What would lead its programs back to the working tree or to another environment.
UNWANTED = {"PYTHONHOME", "PYTHONPATH", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV"}
NOTHING: Mapping[str, str] = {}
TO_END = 20  # seconds


@dataclass(frozen=True)
class Checkout:
    """`folder` is the project's, in a worktree of `commit`; `python` has what it depends on."""

    commit: str
    folder: Path
    python: Path

    def run(
        self, *arguments: str, variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python on a scratch database; see `run_redirected`."""
        return run_redirected(self.python, *arguments, folder=self.folder, variables=variables)

    def start(
        self, *arguments: str, variables: Mapping[str, str]
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start its Python on a scratch database, to talk with until the block ends."""
        command = [str(self.python), "-P", redirect.__file__, *arguments]
        return _started(command, self.folder, variables, subprocess.PIPE)


@contextmanager
def checkout(top: Path, root: Path, commit: str) -> Iterator[Checkout]:
    """Check a commit out and install what it depends on; both are gone after the block.

    Only what is committed there is in it, and the project's `.env`, for settings without a default.

    Args:
        top: the folder of the repository.
        root: that of the project, in or below it.

    Raises:
        ProjectError: it cannot be checked out or installed, or has no project.
    """
    with tempfile.TemporaryDirectory(prefix="overlap-") as temporary:
        code, venv = Path(temporary, "code"), Path(temporary, "venv")
        # Hooks are for the developer's checkouts.
        git = ["git", "-C", str(top), "-c", "core.hooksPath=/dev/null", "worktree"]
        try:
            required([*git, "add", "--quiet", "--detach", str(code), commit], top)
            folder = code / root.relative_to(top)
            if not (folder / "pyproject.toml").is_file():
                raise ProjectError(f"{commit[:12]} has no {root.relative_to(top)}/pyproject.toml")
            if (root / ".env").is_file() and not (folder / ".env").exists():
                (folder / ".env").symlink_to(root / ".env")
            required(["uv", "sync", "--quiet"], folder, {"UV_PROJECT_ENVIRONMENT": str(venv)})
            yield Checkout(commit, folder, venv / "bin/python")
        finally:
            # Not `prune`, which forgets every worktree on a disk that is not there now.
            run([*git, "remove", "--force", "--force", str(code)], top)


def run_redirected(
    python: str | Path, *arguments: str, folder: Path, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program on a scratch database to its end.

    Args:
        arguments: `-m` and a module, or a file, and what it is given.
        variables: those of `scratch.environment`.

    Raises:
        ProjectError: it connected to another database, and was ended before it sent a statement.
    """
    done = run([str(python), "-P", redirect.__file__, *arguments], folder, variables)
    if done.returncode == redirect.REFUSED:
        raise ProjectError(last_line(done))
    return done


def required(command: Sequence[str], folder: Path, variables: Mapping[str, str] = NOTHING) -> str:
    """What a program prints that has to succeed.

    Raises:
        ProjectError: it is not there, or failed; with the last line that it said.
    """
    done = run(command, folder, variables)
    if done.returncode:
        raise ProjectError(f"{' '.join(command[:2])}: {last_line(done)}")
    return done.stdout


def run(
    command: Sequence[str], folder: Path, variables: Mapping[str, str] = NOTHING
) -> subprocess.CompletedProcess[str]:
    """Run a program to the end, whatever comes of it.

    Raises:
        ProjectError: it is not there.
    """
    with _started(command, folder, variables, subprocess.DEVNULL) as process:
        try:
            printed, said = process.communicate()
        except KeyboardInterrupt:
            # Tests drop their databases, if they are given the time.
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=TO_END)
            raise
    return subprocess.CompletedProcess(command, process.returncode, printed, said)


@contextmanager
def _started(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], stdin: int
) -> Iterator[subprocess.Popen[str]]:
    """A program that has ended after the block, with all that it started.

    Raises:
        ProjectError: it is not there.
    """
    process: subprocess.Popen[str] | None = None
    try:
        # Interrupted while it starts, it would go on, and nobody would know of it.
        with interrupts.deferred(), _needed(command[0]):
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=folder,
                env=environment(variables),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # Ctrl-C is for whoever started it
            )
        yield process
    finally:
        if process:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            # What has left its session may still hold its output.
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=TO_END)


@contextmanager
def _needed(program: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ProjectError(f"{program}: {error.strerror}, and the overlap needs it") from error


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return {**kept, **variables}


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a program said in the end, on stderr if anything."""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"
