"""The benchmarks run. What they measure is nobody's business here."""

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import PAGES
from benchmarks.harness import write_section
from packages.slipway.tests.processes import run
from tests.conftest import ROOT

FOLDER = ROOT / "benchmarks"
# The others take minutes together: `just test-benchmarks` runs all.
SHORT = {"guard"}


@pytest.mark.parametrize("name", PAGES)
def test_it_can_be_imported(name: str) -> None:
    assert callable(import_module(f"benchmarks.{name}").measure)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.benchmark, *([pytest.mark.slow] * (name in SHORT))])
        for name in PAGES
    ],
)
def test_a_quick_run_prints_a_table_and_writes_nothing(name: str) -> None:
    before = {page: page.read_bytes() for page in PAGES.values()}

    printed = run("uv", "run", "just", "bench", name, "--quick", cwd=ROOT).stdout

    assert "|---" in printed
    assert {page: page.read_bytes() for page in PAGES.values()} == before


def test_the_readme_names_every_benchmark() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = {path.stem for path in FOLDER.glob("*.py") if "\ndef measure(" in path.read_text()}

    assert found == set(PAGES)
    assert [name for name in PAGES if f"| `{name}` |" not in text] == []


def test_a_section_is_replaced_where_it_stands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for name, text in [("first", "old"), ("second", "kept"), ("first", "new")]:
        write_section(page, name, text)

    lines = [line for line in page.read_text().splitlines() if line and "<!--" not in line]

    assert lines == ["new", "kept"]


def test_an_unknown_benchmark_is_one_line() -> None:
    done = run("uv", "run", "just", "bench", "speed", "--quick", cwd=ROOT, check=False)

    assert done.returncode
    assert "there is no speed" in done.stderr
    assert "Traceback" not in done.stderr
