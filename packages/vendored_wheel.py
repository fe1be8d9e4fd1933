"""Builds the wheel of the library that every new project carries in `vendor/`.

Its version has the local part `+template`, which no package index accepts, so that an installer can
never take a stranger's package for it.
"""

import re
import shutil
import subprocess
import tempfile
import tomllib
import zipfile
from pathlib import Path

LIBRARY = Path(__file__).parent / "slipway"
VENDOR = Path(__file__).parents[1] / "template/vendor"
LOCAL = "+template"


def build(folder: Path) -> Path:
    """Build the wheel from the working tree into `folder`; return its path.

    Raises:
        subprocess.CalledProcessError: uv cannot build it; its output has been printed.
    """
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "slipway")
        shutil.copytree(
            LIBRARY,
            source,
            ignore=shutil.ignore_patterns("tests", "__pycache__", ".venv", "*.egg-info"),
        )
        project = source / "pyproject.toml"
        text = project.read_text(encoding="utf-8")
        versioned = re.sub(r'(?m)^version = "([^"+]+)"', rf'version = "\1{LOCAL}"', text, count=1)
        project.write_text(versioned, encoding="utf-8")
        subprocess.run(
            [
                "uv",
                "build",
                "--quiet",
                "--wheel",
                "--no-create-gitignore",
                "--out-dir",
                folder,
                source,
            ],
            check=True,
        )
    [wheel] = folder.glob(f"*{LOCAL}-*.whl")
    return wheel


def version() -> str:
    """The version that the wheel has: the library's, with the local part."""
    text = (LIBRARY / "pyproject.toml").read_text(encoding="utf-8")
    return f"{tomllib.loads(text)['project']['version']}{LOCAL}"


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel, without what depends on uv: the name of its version, and hashes."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return {
        name: re.sub(rb"(?m)^Generator: .*\n", b"", data)
        for name, data in files.items()
        if not name.endswith(".dist-info/RECORD")
    }


def main() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    print(build(VENDOR))


if __name__ == "__main__":
    main()
