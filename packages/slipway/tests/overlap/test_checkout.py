"""How the running version is installed."""

import shutil
from pathlib import Path

import pytest

from slipway.overlap import checkout
from slipway.overlap.checkout import _install
from slipway.project.configuration import OverlapSettings, ProjectError


def test_a_project_that_does_not_say_what_it_needs_is_told_how_to(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"\[tool\.slipway\.overlap\] install"):
        _install(tmp_path, tmp_path / "venv", OverlapSettings())

    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (OverlapSettings(install=("true",)), "no .venv/bin/python"),
        (OverlapSettings(install=("true",), environment="env"), "no env/bin/python"),
        (OverlapSettings(install=("sh -c 'echo too bad >&2; exit 1'",)), "too bad"),
        (OverlapSettings(install=("no-such-program",)), "no-such-program"),
    ],
)
def test_an_installation_that_fails_is_one_sentence(
    tmp_path: Path, settings: OverlapSettings, said: str
) -> None:
    with pytest.raises(ProjectError, match=said) as reason:
        _install(tmp_path, tmp_path / "venv", settings)

    assert "\n" not in str(reason.value)


@pytest.mark.parametrize(
    ("files", "has_uv", "command"),
    [
        ({"uv.lock", "pyproject.toml"}, False, "uv sync"),
        ({"pyproject.toml"}, True, "uv sync"),
        ({"pyproject.toml", "requirements.txt"}, False, "pip install --quiet --editable ."),
        ({"requirements.txt"}, True, "pip install --quiet --requirement requirements.txt"),
    ],
)
def test_uv_installs_where_it_can_and_else_pip(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: set[str],
    has_uv: bool,
    command: str,
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(shutil, "which", lambda _: "uv" if has_uv else None)
    monkeypatch.setattr(checkout, "required", lambda words, *_: ran.append(" ".join(words)))
    monkeypatch.setattr(checkout, "_python", lambda venv: venv / "bin/python")
    for file in files:
        (tmp_path / file).touch()

    _install(tmp_path, tmp_path / "venv", OverlapSettings())

    assert command in ran[-1]
