"""Names: what a folder is called, what a user may answer, and what becomes of it in a project."""

import os
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from packages.slipway.tests.processes import run
from tests.conftest import Render

LONGEST_FOLDER_NAME = 255  # bytes, on every usual file system
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

Ask = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def copy_of(template: Path, folder: Path, suffix: str) -> Path:
    """The questions, and of the files only those with the suffix: quick to render."""
    (folder / "template").mkdir()
    shutil.copy2(template / "copier.yml", folder)
    for file in template.rglob(f"*{suffix}"):
        copy = folder / file.relative_to(template)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    return folder


@pytest.fixture(scope="module")
def ask(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """What Copier records for a folder of this name and these answers; writes nothing."""
    questions = copy_of(template, tmp_path_factory.mktemp("questions"), ".only-questions")
    destination = tmp_path_factory.mktemp("asked")

    def ask(folder: str = "billing-api", **answers: object) -> dict[str, Any]:
        worker = copier.run_copy(
            str(questions),
            destination / folder,
            data=answers,
            defaults=True,
            quiet=True,
            pretend=True,
        )
        return dict(worker.answers.combined)

    return ask


@pytest.fixture(scope="module")
def write(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Write:
    """A project of only those files that carry answers."""
    named = copy_of(template, tmp_path_factory.mktemp("named"), ".jinja")
    destination = tmp_path_factory.mktemp("written")

    def write(**answers: object) -> Path:
        folder = destination / "billing-api"
        shutil.rmtree(folder, ignore_errors=True)
        copier.run_copy(str(named), folder, data=answers, defaults=True, quiet=True)
        return folder

    return write


def refused(ask: Ask, question: str, answer: object) -> str | None:
    """Why Copier refuses an answer, or None where it takes it."""
    try:
        ask(**{question: answer})
    except ValueError as error:
        blamed = re.search(r" for (?:question )?'(\w+)': ", str(error))
        # An accepted answer that makes the default of another question invalid is a bug.
        if blamed and blamed[1] != question:
            raise
        return str(error)
    return None


def check_names(folder: Path, name: str, description: str) -> None:
    """The files of a project give back exactly what was answered."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    read_by_code = tomllib.loads((folder / "src/app/project.toml").read_text("utf-8"))
    answers = yaml.safe_load((folder / ".copier-answers.yml").read_text("utf-8"))
    readme = (folder / "README.md").read_text("utf-8").split("\n")

    assert answers["project_name"] == name
    assert answers["description"] == description
    assert project["description"] == description
    assert (read_by_code["name"], read_by_code["description"]) == (name, description)
    assert readme[0] == f"# {name}"
    assert readme[2] == description
    assert project["name"] == read_by_code["slug"] == answers["project_slug"]
    assert SLUG.fullmatch(project["name"])


# ---- Defaults, from the folder's name

folder_names = (
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
        st.text("-._ &'\"`$\\{}%#!\n\t\u0301\u200d🚀éßİ", min_size=1, max_size=200),
        st.binary(min_size=1, max_size=60).map(os.fsdecode),
    )
    .map(lambda name: re.sub("[/\0]", "", name))
    .map(lambda name: os.fsencode(name)[:LONGEST_FOLDER_NAME])
    .map(lambda name: name.decode(errors="surrogateescape"))
    .filter(lambda name: name not in {"", ".", ".."})
)


@pytest.mark.slow
@given(folder_names)
@example("...")
@example("-rf")
@example("🚀" * 60)
@example("İ" * 120)
@example("e\u0301" * 80)
@example("{{ 7 * 7 }}")
@settings(max_examples=60, deadline=None)
def test_any_folder_name_gives_defaults_that_their_validators_accept(ask: Ask, folder: str) -> None:
    answers = ask(folder)

    assert answers["project_name"]
    assert SLUG.fullmatch(answers["project_slug"])


@pytest.mark.parametrize(
    ("folder", "name", "slug"),
    [
        ("billing-api", "Billing Api", "billing-api"),
        ("billing_api", "Billing Api", "billing-api"),
        ("billing", "Billing", "billing"),
        ("Research & Development", "Research & Development", "research-development"),
        ("café-crème", "Café Crème", "cafe-creme"),
        ("v2.0", "V2.0", "v2-0"),
        ("🚀", "Service", "service"),
        ("fastapi", "Fastapi", "fastapi-service"),
    ],
)
def test_the_usual_folder_names_give_readable_names(
    ask: Ask, folder: str, name: str, slug: str
) -> None:
    answers = ask(folder)

    assert (answers["project_name"], answers["project_slug"]) == (name, slug)


@pytest.mark.parametrize("folder", ["-rf", "a 'b' \"c\" $HOME `d`", "{{ 7 * 7 }} 🚀\nline"])
def test_a_strange_folder_gets_a_whole_project(render: Render, folder: str) -> None:
    project = render(folder)

    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    check_names(project, answers["project_name"], answers["description"])
    assert (project / "src/app/main.py").is_file()


# ---- Answers, typed by the user

names = st.builds(
    str.__add__,
    st.characters(categories=["L", "N"]),
    st.text(
        st.one_of(st.sampled_from(" &.,()+-_"), st.characters(categories=["L", "N"])), max_size=59
    ),
)
descriptions = st.one_of(
    st.text("\"'`\\{}%#&$<>-:|!?*[]@~ ,.éß🚀\u00a0\u0301\ufeff01nul", max_size=200),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200),
)


@pytest.mark.slow
@given(names, descriptions)
@example("A" * 60, "d" * 200)
@example("É" * 60, "é" * 200)
@example("İ" * 60, "")
@example("Research & Development (R&D), v2.0+", "She said: \"C:\\new\" \\u0041 '''")
@example("0", "{{ 7 * 7 }} {% raw %} {# x #} ${{ x }} %(here)s %% ${HOME}")
@example("null", "null")
@example("1.0", "- 1: [a, b] # not a comment")
@example("Ω", "!!python/object:os.system &anchor *alias")
@example("Yes", '"""')
@settings(max_examples=15, deadline=None)
def test_files_give_back_exactly_the_name_and_description_that_were_accepted(
    ask: Ask, write: Write, name: str, description: str
) -> None:
    assume(refused(ask, "project_name", name) is None)
    assume(refused(ask, "description", description) is None)

    check_names(write(project_name=name, description=description), name, description)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("project_name", "Billing"),
        ("project_name", "É"),
        ("project_name", "9 lives"),
        ("project_name", "A" * 60),
        ("project_name", "Research & Development (R&D), v2.0+"),
        ("project_name", "請求サービス"),
        ("description", ""),
        ("description", "d" * 200),
        ("description", "Bills \"them\" all & 'more': {{ 100 % }} # \\ 🚀"),
        ("ci", "none"),
        ("example", "no"),
        ("postgres_version", "17"),
        ("project_slug", "a"),
        ("project_slug", "a" * 70),
    ],
)
def test_reasonable_answers_are_accepted(ask: Ask, question: str, answer: str) -> None:
    assert refused(ask, question, answer) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("project_name", ""),
        ("project_name", " "),
        ("project_name", " Billing"),
        ("project_name", "-billing"),
        ("project_name", "_billing"),
        ("project_name", "Billing\n"),
        ("project_name", "Bil\tling"),
        ("project_name", "A" * 61),
        ("project_name", 'The "best"'),
        ("project_name", "a/b"),
        ("project_name", "a\\b"),
        ("project_name", "{{ 7 * 7 }}"),
        ("project_name", "🚀 Launch"),
        ("description", "two\nlines"),
        ("description", "two\u2028lines"),
        ("description", "two\x85lines"),
        ("description", "a\ttab"),
        ("description", "\x00"),
        ("description", "\x7f"),
        ("description", "d" * 201),
        ("description", os.fsdecode(b"not UTF-8: \xff")),
        ("ci", "jenkins"),
        ("ci", "GitHub Actions"),
        ("postgres_version", 15),
        ("postgres_version", "newest"),
        ("project_slug", ""),
        ("project_slug", "Billing"),
        ("project_slug", "-billing"),
        ("project_slug", "billing-"),
        ("project_slug", "billing_api"),
        ("project_slug", "facturación"),
        ("project_slug", "a" * 71),
    ],
)
def test_what_is_rejected_is_rejected_with_one_sentence(
    ask: Ask, question: str, answer: object
) -> None:
    reason = refused(ask, question, answer)

    assert reason
    # Copier puts "Validation error for question 'x': " in front.
    sentence = reason.partition(": ")[2].strip()
    assert sentence
    assert "\n" not in sentence


# ---- The slug, which is the name of a Python distribution


def test_a_project_is_never_called_like_what_it_depends_on(ask: Ask, write: Write) -> None:
    pyproject = tomllib.loads((write() / "pyproject.toml").read_text("utf-8"))
    requirements = [
        *pyproject["project"]["dependencies"],
        *pyproject["dependency-groups"]["dev"],
        *pyproject["build-system"]["requires"],
    ]
    packages = [re.split(r"[\[~=<>]", requirement)[0] for requirement in requirements]

    assert called_like(ask, packages) == []


@pytest.mark.slow
@pytest.mark.parametrize("packages", [[], ["sqlmodel"]])
def test_a_project_is_never_called_like_anything_that_it_installs(
    ask: Ask, render: Render, packages: list[str]
) -> None:
    project = render(project_name="Zyx")
    run("uv", "lock", "--quiet", cwd=project)
    if packages:
        run("uv", "add", "--quiet", "--no-sync", *packages, cwd=project)
    lock = tomllib.loads((project / "uv.lock").read_text("utf-8"))
    installed = [package["name"] for package in lock["package"] if package["name"] != "zyx"]

    assert len(installed) > 20
    assert called_like(ask, installed) == []


def called_like(ask: Ask, packages: list[str]) -> list[str]:
    """Those packages whose name a project would take, were it answered."""
    return [name for name in packages if ask(project_name=name)["project_slug"] == name]
