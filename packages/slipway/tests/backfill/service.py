"""A service with a table to fill, and the command that fills it."""

import subprocess
import sys
from dataclasses import dataclass

from packages.slipway.tests import commands
from packages.slipway.tests.commands import Answer
from packages.slipway.tests.history import History
from packages.slipway.tests.processes import environment
from packages.slipway.tests.rows import ROOT

FILE = """
from slipway.backfill import Backfill
{code}
"""
FILL = """backfill = Backfill("items", "name = 'n' || id", where="name IS NULL")"""
# Each change of a name by anybody is noted in the row.
COUNTED = """
CREATE FUNCTION count_touch() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON items FOR EACH ROW
WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION count_touch()
"""


@dataclass(frozen=True)
class Service:
    history: History

    def sql(self, query: str) -> list[tuple[object, ...]]:
        return self.history.sql(query)

    def items(self, count: int) -> None:
        """Make a table with this many rows without a name."""
        self.history.sql(
            "CREATE TABLE items (id int PRIMARY KEY, name text, touched int NOT NULL DEFAULT 0,"
            " seen int NOT NULL DEFAULT 0)"
        )
        self.history.sql(f"INSERT INTO items SELECT generate_series(1, {count})")
        self.history.sql(COUNTED)
        self.history.sql("ANALYZE items")

    def write(self, name: str = "fill", code: str = FILL) -> None:
        """Declare a backfill."""
        if not (self.history.folder / "migrations").exists():
            self.history.add("pass")
        folder = self.history.folder / "migrations/backfills"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(FILE.format(code=code))

    def start(
        self, *arguments: str, stderr: int = subprocess.PIPE, **variables: str
    ) -> subprocess.Popen[str]:
        """Let the command run in a process of its own that starts from nothing."""
        return subprocess.Popen(
            [sys.executable, "-m", "slipway", "backfill", *arguments],
            cwd=self.history.folder,
            env=environment({**self._variables, **variables}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def backfill(self, *arguments: str, **variables: str) -> Answer:
        """Run the command to its end."""
        variables = {**self._variables, **variables}
        answer = commands.slipway(self.history.folder, "backfill", *arguments, variables=variables)
        assert "Traceback" not in answer.errors, answer.errors
        return answer

    @property
    def _variables(self) -> dict[str, str]:
        url = self.history.url.replace("postgresql://", "postgresql+asyncpg://")
        return {"URL": url, "PYTHONPATH": str(ROOT / "template/src")}

    def nameless(self) -> object:
        [(count,)] = self.sql("SELECT count(*) FROM items WHERE name IS NULL")
        return count

    def progress(self) -> tuple[int, int, bool] | None:
        """Rows seen and changed by the backfill, and whether it has finished."""
        if self.sql("SELECT to_regclass('backfill_progress')") == [(None,)]:
            return None
        for row in self.sql("SELECT seen, changed, finished_at FROM backfill_progress"):
            return int(str(row[0])), int(str(row[1])), row[2] is not None
        return None
