"""The same project with each driver, configured in alembic.ini or in pyproject.toml."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from packages.slipway.tests.history import History

DRIVERS = ("asyncpg", "psycopg", "psycopg_async", "psycopg2")
FILES = ("alembic.ini", "pyproject.toml")

# `alembic init` writes this logging, which shows INFO of Alembic's own loggers.
LOGGING = """
[loggers]
keys = root,alembic
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = WARNING
handlers = console
[logger_alembic]
level = INFO
handlers =
qualname = alembic
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = generic
[formatter_generic]
format = %(levelname)s [%(name)s] %(message)s
"""
ENV = """
import os
from slipway.env import Policy, configure_logging, run

policy = Policy(
    lock_timeout=float(os.environ.get("LOCK_TIMEOUT", 1)),
    runner_timeout=float(os.environ.get("RUNNER_TIMEOUT", 60)),
    attempts=int(os.environ.get("ATTEMPTS", 10)),
)
configure_logging()
run(None, policy=policy{arguments})
"""


@dataclass(frozen=True)
class Project(History):
    """A history of revisions whose env.py is the short form, with the URL in the configuration."""

    driver: str = "psycopg"
    file: str = "alembic.ini"
    arguments: str = ""

    @property
    def _url(self) -> str:
        return self.url.replace("postgresql://", f"postgresql+{self.driver}://")

    def configure(self) -> None:
        location, url = "%(here)s/migrations", self._url.replace("%", "%%")
        if self.file == "alembic.ini":
            text = f"[alembic]\nscript_location = {location}\nsqlalchemy.url = {url}\n{LOGGING}"
        else:
            text = f'[tool.alembic]\nscript_location = "{location}"\n"sqlalchemy.url" = "{url}"\n'
        (self.folder / self.file).write_text(text)
        (self.folder / "migrations").mkdir(exist_ok=True)
        env = ENV.format(arguments=f", {self.arguments}" if self.arguments else "")
        (self.folder / "migrations/env.py").write_text(env)


def matrix(fast: Collection[tuple[str, str]] = ()) -> Callable[[Any], Any]:
    """Run a test with each driver and each form of configuration; the others are slow."""
    return _parametrize([(driver, file) for driver in DRIVERS for file in FILES], fast)


def each_driver(fast: Collection[str] = ()) -> Callable[[Any], Any]:
    """Run a test with each driver, half of them configured in pyproject.toml."""
    cases = [(driver, FILES[number % 2]) for number, driver in enumerate(DRIVERS)]
    return _parametrize(cases, [case for case in cases if case[0] in fast])


def _parametrize(
    cases: Iterable[tuple[str, str]], fast: Collection[tuple[str, str]]
) -> Callable[[Any], Any]:
    marked = [
        pytest.param(*case, marks=() if case in fast else pytest.mark.slow, id="-".join(case))
        for case in cases
    ]
    return pytest.mark.parametrize(("driver", "file"), marked)
