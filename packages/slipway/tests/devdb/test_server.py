import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from packages.slipway.tests.devdb.processes import Project
from packages.slipway.tests.processes import free_port, until
from slipway.devdb import temporary_server

ROOT = os.geteuid() == 0
CONNECT = """
import asyncio, asyncpg, os
async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    print(await connection.fetchval("select current_database()"))
asyncio.run(main())
"""


def test_commands_at_the_same_time_share_one_server(project: Project) -> None:
    _, first = project.hold()
    _, second = project.hold()
    assert first == second
    assert len(project.pids("postgres")) == 1


@pytest.mark.slow
def test_five_first_commands_at_once_make_one_server(project: Project) -> None:
    query = "psql -XAtqc 'select pg_postmaster_start_time()'; exec sleep 600"
    users = [project.popen("sh", "-c", query) for _ in range(5)]
    starts = [user.stdout.readline() for user in users if user.stdout]
    assert len(starts) == 5
    assert len(set(starts)) == 1, starts
    assert starts[0]


def test_the_server_ends_with_its_last_user(project: Project, sockets: Path) -> None:
    first, _ = project.hold()
    second, _ = project.hold()
    first.terminate()
    assert first.wait() == -signal.SIGTERM
    assert project.sql("select 1") == "1"
    assert len(project.pids("postgres")) == 1
    second.terminate()
    until(project.gone)
    assert list(sockets.iterdir()) == []


def test_a_child_in_the_background_is_a_user_too(project: Project) -> None:
    code, child, _ = project.run("sh", "-c", "exec 3>&-; sleep 600 >&- 2>&- & echo $!")
    assert code == 0
    assert len(project.pids("postgres")) == 1
    os.kill(int(child), signal.SIGKILL)
    until(project.gone)


def test_data_is_kept_between_commands(project: Project) -> None:
    project.sql("create table kept (id int); insert into kept values (7)")
    until(project.gone)
    assert project.sql("select id from kept") == "7"


def test_the_cluster_is_utc_and_unicode_and_out_of_git(project: Project) -> None:
    shown = "current_setting('timezone'), current_setting('server_encoding')"
    assert project.sql(f"select {shown}") == "UTC|UTF8"
    assert int(project.sql("select current_setting('max_connections')")) >= 100
    assert project.sql("select current_setting('listen_addresses')") == ""
    assert (project.folder / ".devdb" / ".gitignore").read_text() == "*\n"


@pytest.mark.slow
def test_asyncpg_understands_the_url(project: Project) -> None:
    assert project.run(sys.executable, "-c", CONNECT)[1:] == ("app", "")


@pytest.mark.slow
def test_a_dump_can_be_restored(project: Project) -> None:
    project.sql("create table kept (id int); insert into kept values (7)")
    assert project.run("pg_dump", "-Fc", "-f", "dump")[0] == 0
    project.sql("drop table kept")
    assert project.run("pg_restore", "-d", "app", "dump") == (0, "", "")
    assert project.sql("select id from kept") == "7"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["with spaces", "ünï-çødé 'quoted' %41 \"x\"", "long" * 50])
def test_any_name_of_the_folder_will_do(project: Project, name: str) -> None:
    folder = project.folder / name
    folder.mkdir()
    assert Project(folder, project.environment).sql("select 1") == "1"
    assert (folder / ".devdb").is_dir()


@pytest.mark.parametrize("name", ["a b,c%41", "long" * 30])
def test_any_folder_for_temporary_files_will_do(project: Project, sockets: Path, name: str) -> None:
    (sockets / name).mkdir()
    project.environment["TMPDIR"] = str(sockets / name)
    assert project.sql("select 1") == "1"


@pytest.mark.slow
def test_a_port_is_open_while_the_server_runs(user_project: Project) -> None:
    project, port = user_project, free_port()
    _, url = project.hold("--port", str(port))
    assert f"&port={port}" in url
    socket.create_connection(("127.0.0.1", port)).close()
    query = ("psql", "-XAtqc", "select 1")
    assert project.run(*query)[1] == "1"
    assert project.run("--port", str(port), *query)[1] == "1"
    assert project.run("--port", str(port), sys.executable, "-c", CONNECT)[1] == "app"


@pytest.mark.slow
def test_who_connects_by_port_needs_the_password_and_is_no_superuser(user_project: Project) -> None:
    project, port = user_project, free_port()
    project.sql("create table t as select 1 as a")
    until(project.gone)
    # A cluster that an earlier version made, which trusted everybody.
    access = project.folder / ".devdb/data/pg_hba.conf"
    access.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    user, _ = project.hold("--port", str(port))
    code, _, printed = project.run("--port", str(port), "true")
    url = printed.removeprefix("devdb: ")

    assert code == 0
    assert (project.folder / ".devdb/password").stat().st_mode & 0o777 == 0o600
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
    for attack in (
        "COPY t TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/written'",
        "SELECT pg_read_file('postgresql.conf')",
        "ALTER ROLE devdb SUPERUSER",
        "SET ROLE postgres",
    ):
        with (
            psycopg.connect(url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(attack)
    parts = psycopg.conninfo.conninfo_to_dict(url)
    for wrong in ({"password": "guessed"}, {"user": "postgres"}, {"password": ""}):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**{**parts, **wrong})  # type: ignore[arg-type]
    user.kill()


@pytest.mark.skipif(not ROOT, reason="only root is refused")
def test_root_gets_no_port(project: Project) -> None:
    code, _, err = project.run("--port", str(free_port()), "true")

    assert code == 125
    assert err.startswith("devdb: --port is refused as root")
    assert not (project.folder / ".devdb").exists()


def test_a_port_in_the_environment_changes_nothing(project: Project) -> None:
    query = "import psycopg, os; print(psycopg.connect(os.environ['DATABASE_URL']).info.port)"
    code, out, err = project.run(sys.executable, "-c", query, PGPORT="1", PGHOST="192.0.2.1")

    assert (code, out) == (0, "5432"), err


def test_a_port_in_use_gets_one_line(user_project: Project) -> None:
    project = user_project
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = project.run("--port", str(port), "true")
    assert code == 125
    assert err.startswith(f"devdb: port {port} of 127.0.0.1 cannot be used: Address already in use")
    assert project.sql("select 1") == "1"


def test_a_port_the_running_server_lacks_gets_one_line(user_project: Project) -> None:
    project = user_project
    project.hold()
    code, _, err = project.run("--port", str(free_port()), "true")
    assert code == 125
    assert "already runs without port" in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_data_of_another_major_version_gets_one_line_and_stays(project: Project) -> None:
    project.sql("create table kept (id int)")
    until(project.gone)
    version = project.folder / ".devdb" / "data" / "PG_VERSION"
    right = version.read_text()
    version.write_text("12\n")
    code, _, err = project.run("true")
    assert code == 125
    assert "made by PostgreSQL 12" in err
    assert "pg_dump with PostgreSQL 12" in err
    assert len(err.splitlines()) == 1
    version.write_text(right)
    assert project.sql("select count(*) from kept") == "0"


def test_an_interrupted_initdb_is_begun_again(project: Project) -> None:
    (project.folder / ".devdb" / "data.new" / "base").mkdir(parents=True)
    assert project.sql("select 1") == "1"


def test_a_folder_that_is_no_cluster_gets_one_line_and_stays(project: Project) -> None:
    (project.folder / ".devdb" / "data" / "mine").mkdir(parents=True)
    code, _, err = project.run("true")
    assert code == 125
    assert "is no PostgreSQL cluster" in err
    assert len(err.splitlines()) == 1
    assert (project.folder / ".devdb" / "data" / "mine").is_dir()


def test_a_start_that_fails_quotes_the_log_which_does_not_grow(project: Project) -> None:
    project.sql("select 1")
    until(project.gone)
    with (project.folder / ".devdb" / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = 'all'\n")
    log = project.folder / ".devdb" / "server.log"
    sizes = []
    for _ in range(2):
        code, _, err = project.run("true")
        sizes.append(log.stat().st_size)
        assert code == 125
        assert "FATAL:  configuration file" in err
        assert len(err.splitlines()) == 1
    assert sizes[0] == sizes[1]


def test_a_folder_that_cannot_be_made_gets_one_line(project: Project) -> None:
    (project.folder / ".devdb").write_text("")  # holds root back too, unlike a read-only folder
    code, _, err = project.run("true")
    assert code == 125
    assert err.startswith(f"devdb: {project.folder}/.devdb: ")
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(not ROOT, reason="only root becomes somebody else")
def test_root_runs_it_as_nobody_in_a_private_folder(project: Project) -> None:
    project.folder.chmod(0o700)
    project.sql("select 1")
    until(project.gone)
    assert (project.folder / ".devdb" / "data").stat().st_uid == 65534
    status = project.folder.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o700, 0)


@pytest.mark.skipif(not ROOT, reason="only root becomes somebody else")
def test_root_runs_the_cluster_of_a_user_as_that_user(project: Project) -> None:
    project.sql("create table kept (id int)")
    until(project.gone)
    data = project.folder / ".devdb" / "data"
    for path in [data, *data.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert project.sql("select count(*) from kept") == "0"
    until(project.gone)
    assert {path.stat().st_uid for path in [data, *data.rglob("*")]} == {12345}


def test_a_temporary_server_leaves_nothing(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(sockets))
    monkeypatch.setenv("DATABASE_URL", "postgresql://not.used")
    with temporary_server() as first, temporary_server() as second:
        assert first != second
        assert first.startswith("postgresql://postgres@/postgres?host=")
        assert len(list(sockets.iterdir())) == 2
    assert list(sockets.iterdir()) == []


def test_a_temporary_server_leaves_nothing_when_its_owner_is_killed(
    project: Project, sockets: Path
) -> None:
    code = """if True:
        import time
        from slipway import devdb
        with devdb.temporary_server() as url:
            print(url, flush=True)
            time.sleep(600)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", code], env=project.environment, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    assert str(sockets) in owner.stdout.readline()
    owner.kill()
    owner.communicate()
    until(lambda: list(sockets.iterdir()) == [])
