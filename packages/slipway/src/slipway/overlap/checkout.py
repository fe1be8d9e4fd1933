"""The version that is running, as files beside the working tree, with an environment of its own."""

import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import process, redirect
from slipway.project.configuration import Configuration, OverlapSettings, ProjectError

# What would lead its programs back to the working tree or to another environment.
UNWANTED = {
    "ALEMBIC_CONFIG",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "VIRTUAL_ENV",
}
SETTING = "[tool.slipway.overlap] install"


@dataclass(frozen=True)
class Checkout:
    """A version of the project.

    Attributes:
        folder: The project's, in a worktree of the commit.
        python: Has what that version depends on.
        alembic_files: Its Alembic configuration: an ini file and a pyproject.toml, or "" for each.
        section: Alembic's section of the ini file.
    """

    commit: str
    folder: Path
    python: Path
    alembic_files: tuple[str, str]
    section: str

    def run(
        self, *arguments: str, variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python on a scratch database; see `run_redirected`."""
        env = process.environment(variables, without=UNWANTED)
        return run_redirected(self.python, *arguments, folder=self.folder, variables=env)

    def alembic(
        self, *arguments: str, variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run its Alembic on a scratch database."""
        files = [f"--config={file}" for file in self.alembic_files if file]
        command = ["-m", "alembic", *files, f"--name={self.section}", *arguments]
        return self.run(*command, variables=variables)


@contextmanager
def checkout(top: Path, configuration: Configuration, commit: str) -> Iterator[Checkout]:
    """Check a commit out and install what it depends on; both are gone after the block.

    Only what is committed there is in it, and the project's `.env`, for settings without a default.

    Args:
        top: the folder of the repository.

    Raises:
        ProjectError: it cannot be checked out or installed, or has no migrations.
    """
    root = configuration.root
    with tempfile.TemporaryDirectory(prefix="overlap-") as temporary:
        code, venv = Path(temporary, "code"), Path(temporary, "venv")
        # Hooks are for the developer's checkouts.
        git = ["git", "-C", str(top), "-c", "core.hooksPath=/dev/null", "worktree"]
        try:
            required([*git, "add", "--quiet", "--detach", str(code), commit], top)
            folder = code / root.relative_to(top)
            files = tuple(
                code / f.relative_to(top) for f in (configuration.ini, configuration.toml)
            )
            alembic_files = _ini(files[0]), _toml(files[1])
            if not any(alembic_files):
                raise ProjectError(
                    f"{commit[:12]} has no configuration of Alembic, as this one has"
                )
            if (root / ".env").is_file() and not (folder / ".env").exists():
                (folder / ".env").symlink_to(root / ".env")
            python = _install(folder, venv, configuration.overlap)
            yield Checkout(commit, folder, python, alembic_files, configuration.section)
        finally:
            # Not `prune`, which forgets every worktree on a disk that is not there now.
            run([*git, "remove", "--force", "--force", str(code)], top)


def _ini(file: Path) -> str:
    return str(file) if file.is_file() else ""


def _toml(file: Path) -> str:
    """Only where it configures Alembic: versions before 1.16 do not take it."""
    try:
        tools: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        return ""
    return str(file) if "alembic" in tools else ""


# ---- What it depends on


def _install(folder: Path, venv: Path, settings: OverlapSettings) -> Path:
    """Install the version in `folder`; return the Python that has it.

    Raises:
        ProjectError: it cannot be installed, or it is unknown how.
    """
    if settings.install:
        for command in settings.install:
            required(shlex.split(command), folder)
        return _python(folder / (settings.environment or ".venv"))
    if (folder / "uv.lock").is_file() or ((folder / "pyproject.toml").is_file() and _has_uv()):
        required(["uv", "sync", "--quiet"], folder, {"UV_PROJECT_ENVIRONMENT": str(venv)})
        return _python(venv)
    needed = _needed(folder)
    required([sys.executable, "-m", "venv", str(venv)], folder)
    required([str(_python(venv)), "-m", "pip", "install", "--quiet", *needed], folder)
    return _python(venv)


def _has_uv() -> bool:
    return shutil.which("uv") is not None


def _python(venv: Path) -> Path:
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.is_file():
        raise ProjectError(
            f"{SETTING}: made no {venv.name}/bin/python; set `environment` beside it"
        )
    return python


def _needed(folder: Path) -> Sequence[str]:
    """What pip is to install: the project, or else what its requirements name."""
    if any((folder / name).is_file() for name in ("pyproject.toml", "setup.py")):
        return ["--editable", "."]
    if (folder / "requirements.txt").is_file():
        return ["--requirement", "requirements.txt"]
    raise ProjectError(
        "no uv.lock, pyproject.toml, setup.py or requirements.txt says what the running version "
        f"depends on: set {SETTING} to the commands that install it"
    )


# ---- Programs


def run_redirected(
    python: str | Path, *arguments: str, folder: Path, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program on a scratch database to its end.

    Args:
        arguments: `-m` and a module, or a file, and what it is given.
        variables: the whole environment, with the variables of `scratch.environment`.

    Raises:
        ProjectError: it connected to another database, and was ended before it sent a statement.
    """
    done = _run([str(python), "-P", redirect.__file__, *arguments], folder, variables)
    if done.returncode == redirect.REFUSED:
        raise ProjectError(last_line(done))
    return done


def required(
    command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None
) -> None:
    """Run a program that has to succeed.

    Raises:
        ProjectError: it is not installed, or failed; with the last line that it printed.
    """
    done = run(command, folder, variables)
    if done.returncode:
        raise ProjectError(f"{' '.join(command[:3])}: {last_line(done)}")


def run(
    command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code.

    Raises:
        ProjectError: it is not installed.
    """
    return _run(command, folder, process.environment(variables, without=UNWANTED))


def _run(
    command: Sequence[str], folder: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    try:
        return process.run(command, cwd=folder, env=env)
    except OSError as error:
        raise ProjectError(f"{command[0]}: {error.strerror}, and overlap needs it") from error


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a program printed, on stderr if anything."""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"
