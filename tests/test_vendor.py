"""The library that a project carries in `vendor/`: current, and independent of place and index."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from packages.slipway.tests.processes import run
from packages.vendored_wheel import LOCAL, VENDOR, contents, version
from tests.conftest import Render


def test_the_committed_wheel_is_the_library_of_this_commit(template: Path) -> None:
    [fresh] = (template / "template/vendor").iterdir()
    [committed] = VENDOR.iterdir()

    built, kept = contents(fresh), contents(committed)

    stale = sorted(name for name in built | kept if built.get(name) != kept.get(name))
    assert (committed.name, stale) == (fresh.name, []), "the wheel is stale: run `just wheel`"


def test_a_project_depends_on_the_wheel_that_it_carries(template: Path) -> None:
    pyproject = (template / "template/pyproject.toml.jinja").read_text("utf-8")

    [wheel] = (template / "template/vendor").iterdir()
    assert f'"alembic-slipway=={version()}"' in pyproject
    assert f'alembic-slipway = {{ path = "vendor/{wheel.name}" }}' in pyproject


@pytest.mark.slow
def test_a_project_that_was_moved_syncs_offline(render: Render) -> None:
    project = render()
    run("uv", "sync", "--quiet", "--no-dev", cwd=project)
    moved = project.with_name("moved")
    project.rename(moved)
    shutil.rmtree(moved / ".venv")

    run("uv", "sync", "--quiet", "--no-dev", "--locked", "--offline", cwd=moved)

    run(moved / ".venv/bin/slipway", "--help", cwd=moved)


def test_no_index_can_serve_another_library_of_the_name(tmp_path: Path) -> None:
    """A stranger may publish any version, but none with a local part."""
    index = tmp_path / "index"
    index.mkdir()
    for strange in (version().removesuffix(LOCAL), "9999"):
        information = f"alembic_slipway-{strange}.dist-info"
        with zipfile.ZipFile(index / f"alembic_slipway-{strange}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(
                f"{information}/METADATA",
                f"Metadata-Version: 2.1\nName: alembic-slipway\nVersion: {strange}\n",
            )
            wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{information}/RECORD", "")

    def resolve(requirement: str) -> subprocess.CompletedProcess[str]:
        command = ("uv", "pip", "compile", "-", "--no-index", "--find-links", str(index))
        return run(*command, cwd=tmp_path, check=False, input=f"{requirement}\n")

    assert "alembic-slipway==9999" in resolve("alembic-slipway").stdout
    assert resolve(f"alembic-slipway=={version()}").returncode
