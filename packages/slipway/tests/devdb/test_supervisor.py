"""Everything may be killed at any moment; the next command finds its way and loses nothing."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from packages.slipway.tests.devdb.processes import Project
from packages.slipway.tests.processes import until


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # the supervisor's parent ends when it has forked
            os.kill(pid, signal.SIGKILL)
    until(lambda: all(map(ended, pids)))


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def begins(project: Project) -> bool:
    """Whether the first server of the folder is being made, or was."""
    folder = project.folder / ".devdb"
    return (folder / "data.new").exists() or (folder / "data").exists()


def test_the_second_user_goes_on_when_the_first_is_killed(project: Project) -> None:
    first, _ = project.hold()
    second, _ = project.hold()
    server = project.pids("postgres")
    kill(first.pid)
    first.wait()
    assert project.sql("select 1") == "1"
    assert project.pids("postgres") == server
    kill(second.pid)
    until(project.gone)


def test_the_server_ends_when_all_users_are_killed_at_once(project: Project, sockets: Path) -> None:
    users = [project.hold()[0] for _ in range(3)]
    kill(*[user.pid for user in users])
    until(project.gone)
    assert list(sockets.iterdir()) == []


def test_a_command_that_is_killed_while_the_server_starts_leaves_nothing(
    project: Project, sockets: Path
) -> None:
    user = project.popen("sleep", "600")
    until(lambda: begins(project))
    kill(user.pid)
    until(project.gone)
    assert list(sockets.iterdir()) == []
    assert project.sql("select 1") == "1"


def test_a_server_without_its_supervisor_is_taken_over(project: Project, sockets: Path) -> None:
    user, url = project.hold()
    server = project.pids("postgres")
    kill(*project.pids("supervisor.py"))
    second, same = project.hold()
    assert (same, project.pids("postgres")) == (url, server)
    assert len(project.pids("supervisor.py")) == 1
    kill(user.pid, second.pid)
    until(project.gone)
    assert list(sockets.iterdir()) == []


def test_a_server_left_by_everyone_is_taken_over(project: Project, sockets: Path) -> None:
    user, _ = project.hold()
    kill(*project.pids("supervisor.py"), user.pid)
    assert project.sql("select 1") == "1"
    until(project.gone)
    assert list(sockets.iterdir()) == []


@pytest.mark.slow
def test_a_supervisor_killed_during_initdb_is_replaced(project: Project) -> None:
    user = project.popen("sleep", "600")
    until(lambda: begins(project))
    kill(*project.pids("supervisor.py"))
    kill(user.pid)
    assert project.sql("select 1") == "1"


def test_a_server_that_is_killed_comes_back_at_the_same_place(project: Project) -> None:
    _, url = project.hold()
    project.sql("create table kept (id int); insert into kept values (7)")
    kill(*project.pids("postgres"))
    assert project.sql("select id from kept") == "7"
    assert project.hold()[1] == url


def test_data_survives_when_everything_is_killed_at_once(project: Project, sockets: Path) -> None:
    user, _ = project.hold()
    project.sql("create table kept (id int); insert into kept values (7)")
    kill(*project.pids("supervisor.py"), *project.pids("postgres"), user.pid)
    assert project.sql("select id from kept") == "7"
    until(project.gone)
    assert list(sockets.iterdir()) == []


def test_a_stale_process_id_of_somebody_else_does_not_confuse(project: Project) -> None:
    user, _ = project.hold()
    stale = project.folder / ".devdb" / "data" / "postmaster.pid"
    lines = stale.read_text().splitlines(keepends=True)
    kill(*project.pids("supervisor.py"), *project.pids("postgres"), user.pid)
    other = project.popen("sleep", "600", DATABASE_URL="postgresql://h")
    stale.write_text("".join([f"{other.pid}\n", *lines[1:]]))
    assert project.sql("select 1") == "1"
    assert other.poll() is None


@pytest.mark.slow
def test_a_folder_removed_while_in_use_begins_anew(project: Project, sockets: Path) -> None:
    old, before = project.hold()
    shutil.rmtree(project.folder / ".devdb")
    new, after = project.hold()
    assert before != after
    kill(old.pid)
    until(lambda: len(project.pids("postgres")) == 1)
    assert project.sql("select 1") == "1"
    kill(new.pid)
    until(project.gone)
    assert list(sockets.iterdir()) == []
