"""The cases of `cases/`, one file for each family of rules, and one for what breaks none.

Each is a revision on top of those of `base.sql`, one for each line:

- `upgrade`: body of `upgrade()`; sa, op, pg (sqlalchemy.dialects.postgresql) and the functions of
  slipway.operations are imported
- `before`: bodies of revisions in between
- `module`: code before the functions
- `rules`: exactly the rules that it breaks
- `facts`: what PostgreSQL does in it, where a rehearsal tries it: rewrite, scan (under a lock that
  blocks writes), chain (of locks), fails
- `renders_offline`: false if its statements cannot be had without a database
"""

import tomllib
from pathlib import Path
from typing import Any

from packages.slipway.tests.guard.project import Case, each

FOLDER = Path(__file__).parent / "cases"
BASE = (FOLDER / "base.sql").read_text(encoding="utf-8")


def _read() -> list[dict[str, Any]]:
    files = sorted(FOLDER.glob("*.toml"))
    return [case for file in files for case in tomllib.loads(file.read_text())["case"]]


CASES = list(each(_read()))
REHEARSED: list[Case] = list(each(case for case in _read() if "facts" in case))
