"""Where settings come from; Alembic itself says where env.py and revisions are."""

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path

import pytest
from alembic.config import CommandLine
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from slipway.project import configuration
from slipway.project.configuration import (
    Configuration,
    OverlapSettings,
    ProjectError,
    alembic_config,
    load,
)

TOML = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
INI = "[alembic]\nscript_location = %(here)s/migrations\n"


@pytest.fixture(autouse=True)
def no_configuration_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALEMBIC_CONFIG", raising=False)


@pytest.fixture
def kept_path() -> Iterator[None]:
    """Alembic puts folders in front of `sys.path`."""
    path = list(sys.path)
    yield
    sys.path[:] = path


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


# ---- As Alembic has it

# Files, arguments, and ALEMBIC_CONFIG if it is set.
LAYOUTS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "pyproject": ({"pyproject.toml": TOML}, [], ""),
    "ini": ({"alembic.ini": INI}, [], ""),
    "ini wins": (
        {"alembic.ini": INI, "pyproject.toml": TOML.replace("migrations", "elsewhere")},
        [],
        "",
    ),
    "each key by itself": (
        {
            "alembic.ini": "[alembic]\nprepend_sys_path = lib\npath_separator = os\n",
            "pyproject.toml": TOML + 'prepend_sys_path = ["other"]\n',
        },
        [],
        "",
    ),
    "relative": ({"alembic.ini": "[alembic]\nscript_location = migrations\n"}, [], ""),
    "in a package": (
        {
            "alembic.ini": "[alembic]\nscript_location = flatly:db:m\nprepend_sys_path = .\n",
            "flatly/__init__.py": "",
            "flatly/db/m/x": "",
        },
        [],
        "",
    ),
    "in a package below prepend_sys_path": (
        {
            "alembic.ini": "[alembic]\nscript_location = below:m\nprepend_sys_path = src\n",
            "src/below/__init__.py": "",
            "src/below/m/x": "",
        },
        [],
        "",
    ),
    "locations of toml": (
        {
            "pyproject.toml": TOML
            + 'version_locations = ["%(here)s/a", "b c"]\nprepend_sys_path = [".", "x:y"]\n'
            + "recursive_version_locations = true\n"
        },
        [],
        "",
    ),
    "locations split by the system's separator": (
        {"alembic.ini": INI + "version_locations = a:%(here)s/b c\npath_separator = os\n"},
        [],
        "",
    ),
    "locations split by spaces": (
        {"alembic.ini": INI + "version_locations = a  b\npath_separator = space\n"},
        [],
        "",
    ),
    "locations split by lines": (
        {
            "alembic.ini": INI
            + "version_locations =\n    a\n    %(here)s/b:c\nprepend_sys_path =\n    .\n    lib\n"
            + "path_separator = newline\n"
        },
        [],
        "",
    ),
    "the older name of the separator": (
        {"alembic.ini": INI + "version_locations = a;b\nversion_path_separator = ;\n"},
        [],
        "",
    ),
    "the older name is only for locations": (
        {
            "alembic.ini": INI
            + "version_locations = a b\nprepend_sys_path = x y:z\nversion_path_separator = space\n"
        },
        [],
        "",
    ),
    "no separator": (
        {"alembic.ini": INI + "version_locations = a, b c\nprepend_sys_path = x:y, z\n"},
        [],
        "",
    ),
    "recursive": ({"alembic.ini": INI + "recursive_version_locations = true\n"}, [], ""),
    "not quite recursive": ({"alembic.ini": INI + "recursive_version_locations = yes\n"}, [], ""),
    "another file": ({"db/one.ini": INI, "alembic.ini": INI}, ["-c", "db/one.ini"], ""),
    "a relative path of another file": (
        {"db/one.ini": "[alembic]\nscript_location = migrations\n"},
        ["-c", "db/one.ini"],
        "",
    ),
    "another pyproject": ({"db/pyproject.toml": TOML}, ["-c", "db/pyproject.toml"], ""),
    "two files": (
        {"one.ini": "[alembic]\nprepend_sys_path = lib\n", "db/pyproject.toml": TOML},
        ["-c", "one.ini", "--config", "db/pyproject.toml"],
        "",
    ),
    "another section": (
        {"alembic.ini": INI + "[billing]\nscript_location = billing\n"},
        ["-n", "billing"],
        "",
    ),
    "a section that only pyproject replaces": (
        {"alembic.ini": INI, "pyproject.toml": TOML.replace("migrations", "other")},
        ["--name", "billing"],
        "",
    ),
    "an ini file from the environment": ({"db/one.ini": INI}, [], "db/one.ini"),
    "a pyproject from the environment": ({"db/pyproject.toml": TOML}, [], "db/pyproject.toml"),
    "the environment and the other kind": (
        {"db/pyproject.toml": TOML, "one.ini": "[alembic]\nprepend_sys_path = lib\n"},
        ["-c", "one.ini"],
        "db/pyproject.toml",
    ),
    "arguments before the environment": (
        {"one.ini": INI, "two.ini": INI.replace("migrations", "two")},
        ["-c", "two.ini"],
        "one.ini",
    ),
    "percent signs of others": (
        {"alembic.ini": INI + "sqlalchemy.url = postgresql://a:50%@h/d\nx = %(nothing)s\n"},
        [],
        "",
    ),
}


def loaded(arguments: list[str]) -> Configuration:
    parser = argparse.ArgumentParser()
    configuration.add_arguments(parser)
    return configuration.from_arguments(parser.parse_args(arguments))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("kept_path")
def test_places_are_those_of_alembic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    files, arguments, environment = LAYOUTS[layout]
    write(tmp_path, files)
    for name in ("migrations", "billing", "other", "two", "db/migrations"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if environment:
        monkeypatch.setenv("ALEMBIC_CONFIG", environment)
    ours = loaded(arguments)

    theirs = alembic(arguments)
    assert ours.scripts == Path(theirs.dir).absolute()
    assert list(ours.folders) == theirs._version_locations
    assert ours.recursive == theirs.recursive_version_locations
    given = list(ours.prepended)
    assert [str(Path(path).absolute()) for path in sys.path[: len(given)]] == given


def alembic(arguments: list[str]) -> ScriptDirectory:
    """What the command `alembic` makes of these arguments."""
    line = CommandLine("alembic")
    options = line.parser.parse_args([*arguments, "heads"])
    toml, ini = line._inis_from_config(options)
    from alembic.config import Config

    config = Config(file_=ini, toml_file=toml, ini_section=options.name, cmd_opts=options)
    with warnings.catch_warnings(action="ignore"):
        return ScriptDirectory.from_config(config)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("kept_path")
def test_alembic_gets_the_same_from_every_folder_and_in_a_child_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    files, arguments, environment = LAYOUTS[layout]
    write(tmp_path, files)
    for name in ("migrations", "billing", "other", "two", "db/migrations", "elsewhere"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if environment:
        monkeypatch.setenv("ALEMBIC_CONFIG", environment)
    ours = loaded(arguments)
    monkeypatch.delenv("ALEMBIC_CONFIG", raising=False)

    assert loaded(ours.arguments) == ours
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = alembic_config(ours)
    assert config.config_ini_section == ours.section
    script = ScriptDirectory.from_config(config)
    assert Path(script.dir) == ours.scripts
    assert script._version_locations == list(ours.folders)
    assert script.recursive_version_locations == ours.recursive
    assert sys.path[: len(ours.prepended)] == list(ours.prepended)


def test_other_settings_reach_env_py_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, {"alembic.ini": INI + "sqlalchemy.url = postgresql://a:%%40@h/d\n"})
    config = alembic_config(load(tmp_path))

    assert config.get_main_option("sqlalchemy.url") == "postgresql://a:%40@h/d"
    assert config.config_file_name == str(tmp_path / "alembic.ini")


def test_a_project_is_found_from_a_folder_below(tmp_path: Path) -> None:
    write(tmp_path, {"alembic.ini": "[alembic]\nscript_location = migrations\n", "a/b/x": ""})

    assert load(tmp_path / "a/b").scripts == tmp_path / "migrations"
    assert load(tmp_path / "a/b").root == tmp_path


def test_a_pyproject_of_something_else_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, {"alembic.ini": INI, "lib/pyproject.toml": "[tool.ruff]\n"})
    assert load(tmp_path / "lib").root == tmp_path


ABSURD = {
    "no script_location": ({"alembic.ini": "[alembic]\n"}, []),
    "a missing section": ({"alembic.ini": INI}, ["-n", "billing"]),
    "a missing file": ({"alembic.ini": INI}, ["-c", "other.ini"]),
    "two ini files": ({"a.ini": INI, "b.ini": INI}, ["-c", "a.ini", "-c", "b.ini"]),
    "an unknown separator": (
        {"alembic.ini": INI + "version_locations = a\npath_separator = ,\n"},
        [],
    ),
    "an unknown name": ({"alembic.ini": "[alembic]\nscript_location = %(heer)s/m\n"}, []),
    "a package that does not exist": (
        {"alembic.ini": "[alembic]\nscript_location = nowhere_at_all:m\n"},
        [],
    ),
    "no ini file at all": ({"alembic.ini": "script_location\n"}, []),
    "a number for a path": ({"pyproject.toml": "[tool.alembic]\nscript_location = 1\n"}, []),
    "a text for paths": ({"pyproject.toml": TOML + "version_locations = 'a'\n"}, []),
    "an unknown name in toml": (
        {"pyproject.toml": '[tool.alembic]\nscript_location = "%(heer)s/m"\n'},
        [],
    ),
    "no table": ({"pyproject.toml": "[tool]\nalembic = 1\n"}, []),
}


@pytest.mark.parametrize("fault", ABSURD)
def test_what_alembic_cannot_read_is_one_sentence(tmp_path: Path, fault: str) -> None:
    files, arguments = ABSURD[fault]
    write(tmp_path, files)
    with chdir(tmp_path):
        with pytest.raises(ProjectError) as refused:
            loaded(arguments)
        assert len(str(refused.value).splitlines()) == 1
        if fault not in ("a text for paths", "a missing file"):
            with pytest.raises((CommandError, Exception)):
                alembic(arguments)


# ---- The library's settings

SETTINGS = {
    "pyproject.toml": TOML
    + """
[tool.slipway]
applications = ["shop", "billing"]
backfills = "data"
base-branch = "develop"
baseline = ["abc", "def"]
documentation = "https://example.org/50%"
postgresql = 17
scratch-server = "slipway.devdb:temporary_server"
small-tables = ["plans", "public.users", "billing.plans"]
[tool.slipway.severities]
trigger = "off"
drop-table = "warning"
[tool.slipway.overlap]
install = ["python -m venv .venv", ".venv/bin/pip install -e ."]
test = "pytest -q tests"
environment = ".venv"
""",
    "alembic.ini": """
[DEFAULT]
databases = one, two
"""
    + INI
    + """
[slipway]
applications =
    shop
    billing
backfills = data
base-branch = develop
baseline =
    abc
    def
documentation = https://example.org/50%%
postgresql = 17
scratch-server = slipway.devdb:temporary_server
small-tables =
    plans

    public.users
    billing.plans
[slipway.severities]
trigger = off
drop-table = warning
[slipway.overlap]
install =
    python -m venv .venv
    .venv/bin/pip install -e .
test = pytest -q tests
environment = .venv
""",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_both_files_have_the_same_settings(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: SETTINGS[name]})

    found = load(tmp_path)

    assert found == Configuration(
        root=tmp_path,
        folders=(tmp_path / "migrations/versions",),
        scripts=tmp_path / "migrations",
        ini=tmp_path / "alembic.ini",
        toml=tmp_path / "pyproject.toml",
        search_path=found.search_path,
        applications=frozenset({"shop", "billing"}),
        backfills=tmp_path / "data",
        base_branch="develop",
        baseline=("abc", "def"),
        documentation="https://example.org/50%",
        postgresql=17,
        scratch_server="slipway.devdb:temporary_server",
        severities={"trigger": "off", "drop-table": "warning"},
        small_tables=frozenset({"plans", "users", "billing.plans"}),
        overlap=OverlapSettings(
            install=("python -m venv .venv", ".venv/bin/pip install -e ."),
            test="pytest -q tests",
            environment=".venv",
        ),
    )


def test_every_setting_is_tried_above() -> None:
    for text in SETTINGS.values():
        for name in (*configuration.SETTINGS, *configuration.OVERLAP_SETTINGS):
            assert f"\n{name} =" in text or f"slipway.{name}]" in text


def test_settings_in_both_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"alembic.ini": INI + "[slipway]\n", "pyproject.toml": "[tool.slipway]\n"})
    with pytest.raises(ProjectError, match="both"):
        load(tmp_path)


def test_alembic_and_the_library_may_be_set_in_different_files(tmp_path: Path) -> None:
    write(tmp_path, {"alembic.ini": INI, "pyproject.toml": "[tool.slipway]\npostgresql = 17\n"})
    assert load(tmp_path).postgresql == 17


@pytest.mark.parametrize("name", ["alembic.ini", "pyproject.toml"])
def test_a_baseline_is_mostly_one_revision(tmp_path: Path, name: str) -> None:
    text = {"alembic.ini": INI + "[slipway]\nbaseline = abc\n"}
    text["pyproject.toml"] = TOML + '[tool.slipway]\nbaseline = "abc"\n'
    write(tmp_path, {name: text[name]})
    assert load(tmp_path).baseline == ("abc",)


def test_backfills_are_beside_env_py_unless_told_otherwise(tmp_path: Path) -> None:
    write(tmp_path, {"alembic.ini": INI})
    assert load(tmp_path).backfills == tmp_path / "migrations/backfills"


WRONG = [
    "[slipway]\nbaselin = x",
    "[slipway]\npostgresql = new",
    "[slipway.severity]\ntrigger = off",
    "[slipway.severities]\ntrigger = none",
    "[slipway.overlap]\ninstal = x",
    "[slipway]\nbaseline = %(nothing)s",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_setting_in_an_ini_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"alembic.ini": f"{INI}{text}\n"})
    with pytest.raises(ProjectError) as refused:
        load(tmp_path)
    assert "alembic.ini" in str(refused.value) or "baseline" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


# ---- The application

TREES = {
    "src": (["src/shop/__init__.py", "src/migrations/__init__.py"], "src/migrations", {"shop"}),
    "flat": (["shop/__init__.py", "migrations/env.py"], "migrations", {"shop"}),
    "flat, migrations are a package": (
        ["shop/__init__.py", "migrations/__init__.py"],
        "migrations",
        {"shop"},
    ),
    "inside": (
        ["src/shop/__init__.py", "src/shop/db/__init__.py", "src/shop/db/migrations/env.py"],
        "src/shop/db/migrations",
        {"shop"},
    ),
    "two": (["shop/__init__.py", "billing/__init__.py", "docs/x.md"], "m", {"shop", "billing"}),
    "prepended": (["python/shop/__init__.py"], "migrations", {"shop"}),
    "nothing": (["migrations/env.py"], "migrations", set()),
}


@pytest.mark.parametrize("tree", TREES)
def test_packages_of_the_application_are_found(tmp_path: Path, tree: str) -> None:
    files, scripts, expected = TREES[tree]
    ini = f"[alembic]\nscript_location = {scripts}\nprepend_sys_path = python\n"
    write(tmp_path, {"alembic.ini": ini, **dict.fromkeys(files, "")})

    assert load(tmp_path).applications == expected
