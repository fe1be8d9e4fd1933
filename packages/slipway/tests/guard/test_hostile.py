"""Files that are broken or mean harm give a finding, in time, and leave the others alone."""

import sys
import time
from pathlib import Path

import pytest

from packages.slipway.tests.guard.project import Answer, GuardProject
from slipway.guard.record import record

HARMFUL: dict[str, str | bytes] = {
    "syntax error": "def upgrade(:\n    pass\n",
    "null byte": b"revision = 'x'\0\n",
    "not UTF-8": b"revision = '\xff'\n",
    "unknown encoding": b"# coding: nonsense\nrevision = 'x'\n",
    "deep nesting": "x = " + "(" * 5000 + ")" * 5000,
    "deep expression": "x = " + "-" * 100_000 + "1",
    "huge": b"#" * 3_000_000,
    "ends the process": "import sys\nsys.exit(0)\n",
    "ends it in upgrade": "def upgrade():\n    raise SystemExit\n",
    "interrupts": "def upgrade():\n    raise KeyboardInterrupt\n",
    "ends it at once": "import os\ndef upgrade():\n    os._exit(0)\n",
    "crashes": "import ctypes\ndef upgrade():\n    ctypes.string_at(0)\n",
    "closes what it was given": "import os\ndef upgrade():\n    os.closerange(0, 100)\n",
    "recurses": "def upgrade():\n    upgrade()\n",
    "writes without end": (
        "from alembic import op\n"
        "def upgrade():\n"
        "    while True:\n"
        "        op.execute('SELECT 1' + ' ' * 100_000 + '1')\n"
    ),
    "prints": "def upgrade():\n    print('{}' * 1000, flush=True)\n    raise ValueError\n",
    "reads": "def upgrade():\n    input()\n",
    "runs a program": "import subprocess\ndef upgrade():\n    subprocess.run(['true'])\n",
    "kills": "import os\ndef upgrade():\n    os.kill(os.getppid(), 9)\n",
    "writes a file": "def upgrade():\n    open('/tmp/guard', 'w')\n",
    "opens a socket": (
        "import socket\ndef upgrade():\n    socket.create_connection(('127.0.0.1', 9))\n"
    ),
    "has no upgrade": "x = 1\n",
    "has another upgrade": "upgrade = None\n",
    "needs what is not installed": "import not_installed\ndef upgrade():\n    pass\n",
    "raises what cannot be shown": (
        "class Odd(Exception):\n"
        "    def __str__(self):\n"
        "        raise ValueError\n"
        "def upgrade():\n"
        "    raise Odd\n"
    ),
}
REVISION = "revision = '{}'\ndown_revision = None\n"


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """All of them at once, each before one that is well."""
    project = GuardProject(tmp_path_factory.mktemp("hostile"))
    for number, code in enumerate(HARMFUL.values()):
        head = REVISION.format(f"bad{number}")
        project.write(f"{number:02}_bad", code if isinstance(code, bytes) else head + code)
        project.add(f"{number:02}_good", 'op.execute("DROP TABLE t")')
    return project.guard("--all")


@pytest.mark.parametrize("number", range(len(HARMFUL)), ids=HARMFUL)
def test_it_is_a_finding_and_the_next_is_judged_as_ever(answer: Answer, number: int) -> None:
    assert not answer.errors
    found = {(f["file"], f["rule"]) for f in answer.report["findings"]}
    assert (f"migrations/versions/{number:02}_bad.py", "not-renderable") in found
    assert (f"migrations/versions/{number:02}_good.py", "drop-table") in found


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "where", ["upgrade", pytest.param("import", marks=SLOW), pytest.param("thread", marks=SLOW)]
)
def test_what_does_not_end_is_ended(tmp_path: Path, where: str) -> None:
    project = GuardProject(tmp_path)
    loops = {
        "import": "while True: pass\n",
        "upgrade": (
            "def upgrade():\n"
            "    while True:\n"
            "        try: upgrade()\n"
            "        except BaseException: pass\n"
        ),
        "thread": (
            "import threading\n"
            "def upgrade():\n"
            "    thread = threading.Thread(target=upgrade)\n"
            "    thread.start()\n"
            "    thread.join()\n"
        ),
    }
    endless = project.write("endless", loops[where])
    good = project.add("good", 'op.execute("SELECT 1")')

    first, second = record([endless, good], sys.path, seconds=2)

    assert first.broken
    assert first.error
    assert [statement.sql for statement in second.statements] == ["SELECT 1"]


def test_it_is_an_error_where_no_database_could_help(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    broken = project.write("broken", "def upgrade(:\n")
    asking = project.add("asking", "sa.inspect(op.get_bind())")

    severities = {
        f["file"]: f["severity"] for f in project.guard(broken, asking).report["findings"]
    }

    assert severities["migrations/versions/broken.py"] == "error"
    assert severities["migrations/versions/asking.py"] == "info"


def test_what_was_seen_before_it_failed_is_judged(tmp_path: Path) -> None:
    project = GuardProject(tmp_path)
    file = project.add("half", 'op.execute("DROP TABLE t")\nop.get_bind().commit()')

    answer = project.guard(file)

    assert answer.rules() == ["drop-table", "manual-commit", "not-renderable"]
    lines = file.read_text().splitlines()
    for finding in answer.report["findings"]:
        expected = "DROP TABLE" if finding["rule"] == "drop-table" else "commit()"
        assert expected in lines[finding["line"] - 1]


LONG = {
    "changes": "WITH " + "a AS (DELETE FROM t), " * 20_000 + "b AS (SELECT 1) SELECT 1",
    "sources": "DELETE FROM t USING " + "a FROM b JOIN " * 30_000,
    "actions": "ALTER TABLE t " + "ADD a int," * 30_000,
    "columns": "CREATE TABLE t (" + "a int," * 50_000,
    "statements": "SELECT 1;" * 30_000,
    "parentheses": "SELECT " + "(" * 100_000,
    "check": "ALTER TABLE t ADD CHECK (" + "(" * 90_000 + "a IS NOT NULL" + ")" * 90_000 + ")",
    "nested": (
        "ALTER TABLE t ADD CHECK (" + "(" * 9_000 + "a" + " AND a IS NOT NULL)" * 9_000 + ")"
    ),
    "default": "ALTER TABLE t ADD a int DEFAULT " + "(1)" * 50_000,
    "and": "ALTER TABLE t ADD CHECK (" + "a IS NOT NULL AND " * 20_000 + "b)",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LONG)
def test_long_statements_are_judged_in_time(tmp_path: Path, kind: str) -> None:
    project = GuardProject(tmp_path)
    (tmp_path / "statement.sql").write_text(LONG[kind])
    file = project.add(
        "long",
        f"op.execute(open({str(tmp_path / 'statement.sql')!r}).read())\n"
        'op.alter_column("t", "a", nullable=False)',
    )
    began = time.process_time()

    answer = project.guard(file)

    assert not answer.errors
    # No measurement: what is linear takes two seconds of a processor, what is not takes minutes.
    assert time.process_time() - began < 60
