"""Every set of answers gives exactly the files that it should, and all of them are sound."""

import configparser
import fcntl
import itertools
import os
import re
import shlex
import shutil
import stat
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import copier
import pytest
import yaml

from packages.slipway.tests.processes import run
from tests.conftest import Render

# ---- Which file depends on which answer; every other file is in every project.

CI = {
    "github": {
        ".github/dependabot.yml",
        ".github/workflows/ci.yml",
        ".github/workflows/release.yml",
        ".github/workflows/security.yml",
    },
    "gitlab": {".gitlab-ci.yml", ".gitlab/renovate.json"},
    "none": set[str](),
}
FIRST_MIGRATION = "src/migrations/versions/20260101_0000_000000000001_create_users_and_posts"
MIGRATION = {
    18: {f"{FIRST_MIGRATION}.py"},
    17: {f"{FIRST_MIGRATION}_for_postgresql_17.py"},
    16: {f"{FIRST_MIGRATION}_for_postgresql_17.py"},
}
EXAMPLE = {
    "src/app/api/v1/posts.py",
    "src/app/api/v1/users.py",
    "src/app/models/post.py",
    "src/app/models/user.py",
    "src/app/schemas/post.py",
    "src/app/schemas/user.py",
    "tests/api/test_posts.py",
    "tests/api/test_users.py",
}
CONDITIONAL = EXAMPLE.union(*CI.values(), *MIGRATION.values())

# `${{` is GitHub's, `${#` is a shell's.
JINJA = re.compile(r"(?<!\$)\{[{%#]")


@dataclass(frozen=True)
class Answers:
    ci: str
    example: bool
    postgres_version: int

    @property
    def folder(self) -> str:
        domain = "example" if self.example else "empty"
        return f"{self.ci}-{domain}-{self.postgres_version}"

    def files(self, template: Path) -> set[str]:
        """The files that a project with these answers consists of."""
        domain = EXAMPLE | MIGRATION[self.postgres_version] if self.example else set[str]()
        return files_of_every_project(template) | CI[self.ci] | domain


ALL_ANSWERS = [Answers(*answers) for answers in itertools.product(CI, [True, False], [18, 17, 16])]
# Each value of each answer once; the slow tests have them all.
FEW = [Answers("github", True, 18), Answers("gitlab", False, 17), Answers("none", True, 16)]
every_answer = pytest.mark.parametrize(
    "answers",
    [
        pytest.param(answers, marks=[] if answers in FEW else pytest.mark.slow)
        for answers in ALL_ANSWERS
    ],
    ids=lambda answers: answers.folder,
)


def files_of_every_project(template: Path) -> set[str]:
    sources = {name.removesuffix(".jinja") for name in files(template / "template")}
    return sources - CONDITIONAL - {"{{_copier_conf.answers_file}}"} | {".copier-answers.yml"}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def project(template: Path, answers: Answers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with these answers, rendered once for all xdist workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, unfinished = shared / answers.folder, shared / f"{answers.folder}-unfinished"
    with (shared / f"{answers.folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            data = vars(answers)
            copier.run_copy(str(template), unfinished, data=data, defaults=True, quiet=True)
            unfinished.rename(folder)
    return folder


# ---- The files


def test_the_table_of_conditional_files_names_files_of_the_template(template: Path) -> None:
    sources = {name.removesuffix(".jinja") for name in files(template / "template")}

    assert sources >= CONDITIONAL


@every_answer
def test_a_project_has_exactly_the_files_that_its_answers_ask_for(
    project: Path, template: Path, answers: Answers
) -> None:
    assert files(project) == answers.files(template)


@every_answer
def test_the_answers_file_records_every_answer(project: Path, answers: Answers) -> None:
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())

    assert recorded.pop("project_name")
    assert recorded.pop("project_slug")
    assert recorded.pop("description")
    # A plain folder has no `_commit`; tests/test_update.py sees to that.
    assert (Path(recorded.pop("_src_path")) / "copier.yml").is_file()
    assert recorded == vars(answers)


@every_answer
def test_what_is_not_jinja_arrives_as_it_is(
    project: Path, template: Path, answers: Answers
) -> None:
    plain = [name for name in files(template / "template") if not name.endswith(".jinja")]
    changed = [
        name
        for name in plain
        if (project / name).exists()
        and (project / name).read_bytes() != (template / "template" / name).read_bytes()
    ]

    assert changed == []


@every_answer
def test_no_jinja_is_left(project: Path, template: Path, answers: Answers) -> None:
    written = files(project) - files(template / "template")

    assert ".copier-answers.yml" in written
    assert [name for name in written if JINJA.search((project / name).read_text("utf-8"))] == []
    assert [name for name in files(project) if name.endswith(".jinja")] == []


@every_answer
def test_every_file_is_utf_8_and_ends_with_one_newline(project: Path, answers: Answers) -> None:
    names = [name for name in files(project) if not name.endswith(".whl")]
    texts = {name: (project / name).read_bytes().decode() for name in names}
    wrong = [
        name
        for name, text in texts.items()
        if text and (not text.endswith("\n") or text.endswith("\n\n") or "\r" in text)
    ]

    assert wrong == []


@every_answer
def test_a_file_is_executable_where_the_template_says_so(
    project: Path, template: Path, answers: Answers
) -> None:
    sources = template / "template"
    executable = {name for name in files(project) if is_executable(project / name)}

    assert executable == {name for name in files(sources) if is_executable(sources / name)}


def is_executable(file: Path) -> bool:
    return bool(file.stat().st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH))


# What working in template/ leaves there: tools' caches, environments, secrets.
LEFTOVERS = [
    ".DS_Store",
    ".coverage",
    ".devdb/data/PG_VERSION",
    ".env",
    ".git/HEAD",
    ".mypy_cache/3.11/app.json",
    ".pytest_cache/README.md",
    ".ruff_cache/CACHEDIR.TAG",
    ".venv/bin/python",
    "backup.dump",
    "dist/billing_api-0.1.0.tar.gz",
    "src/app/__pycache__/main.cpython-311.pyc",
    "src/app/core/stale.pyc",
    "src/billing_api.egg-info/PKG-INFO",
    "tests/__pycache__/conftest.cpython-311.pyc",
    "uv.lock",
]


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_what_work_in_the_template_leaves_behind_never_reaches_a_project(
    projects_with_leftovers: Path, leftover: str
) -> None:
    assert not (projects_with_leftovers / leftover).exists()


@pytest.fixture(scope="session")
def projects_with_leftovers(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leftovers")
    shutil.copytree(template, folder / "source")
    for name in LEFTOVERS:
        leftover = folder / "source/template" / name
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.write_text("left behind\n")
    copier.run_copy(str(folder / "source"), folder / "project", defaults=True, quiet=True)
    return folder / "project"


# ---- What is in them


@every_answer
def test_every_project_is_clean_for_ruff(project: Path, answers: Answers) -> None:
    ruff = (sys.executable, "-m", "ruff")

    run(*ruff, "check", "--no-cache", "--quiet", ".", cwd=project)
    run(*ruff, "format", "--no-cache", "--check", ".", cwd=project)


@every_answer
def test_every_file_parses(project: Path, answers: Answers) -> None:
    for file in sorted((project).rglob("*")):
        if not file.is_file() or file.suffix == ".whl":
            continue
        text = file.read_text("utf-8")
        match file.suffix:
            case ".py":
                compile(text, file, "exec", dont_inherit=True)
            case ".toml":
                tomllib.loads(text)
            case ".yml" | ".yaml":
                assert yaml.safe_load(text)
            case ".ini":
                configparser.ConfigParser(interpolation=None).read_string(text)
            case _:
                pass


@every_answer
def test_the_database_of_ci_compose_and_code_is_the_one_that_was_asked_for(
    project: Path, answers: Answers
) -> None:
    images = {
        image
        for name in [*CI[answers.ci], "docker-compose.yml"]
        for image in re.findall(r"(?<!@)postgres:(\d+)\b", (project / name).read_text())
    }
    told = tomllib.loads((project / "src/app/project.toml").read_text())["postgres_version"]

    assert told == answers.postgres_version
    assert images == {str(answers.postgres_version)}


@every_answer
def test_the_database_of_compose_keeps_its_data_where_its_image_does(
    project: Path, answers: Answers
) -> None:
    """Since version 18 the folder of the image's volume is one above."""
    [volume] = yaml.safe_load((project / "docker-compose.yml").read_text())["services"]["db"][
        "volumes"
    ]

    folder = "/var/lib/postgresql" if answers.postgres_version >= 18 else "/var/lib/postgresql/data"
    assert volume == f"db:{folder}"


@pytest.mark.parametrize("answers", FEW[:1], ids=lambda answers: answers.folder)
def test_every_github_step_does_something(project: Path, answers: Answers) -> None:
    for file in (project / ".github/workflows").iterdir():
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            assert all({"run", "uses"} & step.keys() for step in job["steps"])


@pytest.mark.slow
@pytest.mark.parametrize("example", [True, False])
@pytest.mark.parametrize("postgres_version", [18, 17])
def test_a_project_is_fully_typed(render: Render, example: bool, postgres_version: int) -> None:
    project = render(example=example, postgres_version=postgres_version)
    run("uv", "sync", "--quiet", cwd=project)

    run("uv", "run", "mypy", "--strict", cwd=project)


# ---- copier.yml


def test_the_template_never_needs_trust(template: Path) -> None:
    """One release with any of these makes all later updates from it ask for `--trust`."""
    configuration = yaml.safe_load((template / "copier.yml").read_text("utf-8"))

    assert configuration.keys().isdisjoint({"_tasks", "_migrations", "_jinja_extensions"})


def test_every_question_has_a_default_and_no_secret(template: Path) -> None:
    """A question without a default stops `copier update --defaults`."""
    configuration = yaml.safe_load((template / "copier.yml").read_text("utf-8"))
    questions = {name: q for name, q in configuration.items() if not name.startswith("_")}

    assert [name for name, question in questions.items() if "default" not in question] == []
    assert [name for name, question in questions.items() if question.get("secret")] == []


def test_python_is_never_jinja(template: Path) -> None:
    assert [name for name in files(template) if re.search(r"\.py\.jinja$|\.py.*[{}]", name)] == []


# ---- What is printed after copying


def copy(template: Path, *arguments: str, cwd: Path) -> str:
    """What `copier copy` tells its user after it has listed the files."""
    copier_copy = (sys.executable, "-m", "copier", "copy", "--defaults")
    printed = run(
        *copier_copy, str(template), *arguments, cwd=cwd, variables={"NO_COLOR": "1"}
    ).stderr
    return re.split(r"^ *(?:create|identical) .*\n", printed, flags=re.MULTILINE)[-1]


def commands(message: str) -> list[list[str]]:
    """The commands that a message shows: its indented lines."""
    return [
        shlex.split(line, comments=True) for line in message.splitlines() if re.match(r"  \S", line)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["billing-api", "with two spaces", "it's $HOME", "./-dash"])
def test_the_next_steps_begin_with_the_way_into_the_folder(
    template: Path, tmp_path: Path, folder: str
) -> None:
    message = copy(template, folder, cwd=tmp_path)
    way = next(line for line in message.splitlines() if line.startswith("  "))

    there = run("sh", "-c", f"{way.strip()} && pwd -P", cwd=tmp_path).stdout.strip()
    assert Path(there) == (tmp_path / folder).resolve()


def test_the_next_steps_are_commands_that_the_project_has(template: Path, tmp_path: Path) -> None:
    message = copy(template, ".", cwd=tmp_path)
    recipes = run(Path(sys.executable).with_name("just"), "--summary", cwd=tmp_path).stdout.split()

    shown = commands(message)
    own = [command for command in shown if command[:3] == ["uv", "run", "just"]]
    # No `cd`, above all: the user is there already.
    [commit] = [command for command in shown if command not in own]
    assert own
    assert {recipe for command in own for recipe in command[3:]} <= set(recipes)
    run("sh", "-c", shlex.join(commit).replace("'&&'", "&&"), cwd=tmp_path)
    assert run("git", "log", "--format=%s", cwd=tmp_path).stdout == "Start\n"


@pytest.mark.parametrize(
    ("answers", "unknown"),
    [
        ({"ci": "none", "postgres_version": "17"}, []),
        ({"ci": "none", "Example": "no", "postgres": "17"}, ["Example", "postgres"]),
    ],
)
def test_answers_to_questions_that_do_not_exist_are_named(
    template: Path, tmp_path: Path, answers: Mapping[str, str], unknown: list[str]
) -> None:
    data = [f"--data={name}={answer}" for name, answer in answers.items()]
    message = copy(template, *data, "billing-api", cwd=tmp_path)

    assert [name for name in answers if re.search(rf"\b{name}\b", message)] == unknown
