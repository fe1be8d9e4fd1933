"""docs/deployment.md: what it shows is run, or needs a cluster and names only what is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.manifests import Manifests
from tests.processes import run

pytestmark = pytest.mark.slow

WITH_CLUSTER = "# with a cluster\n"


@pytest.fixture(scope="session")
def document(folder: Path) -> str:
    return (folder / "docs/deployment.md").read_text(encoding="utf-8")


def commands(document: str, *, with_cluster: bool) -> list[list[str]]:
    return [
        shlex.split(line.removeprefix("$ "))
        for block in re.findall(r"```console\n(.*?)```", document, re.DOTALL)
        if block.startswith(WITH_CLUSTER) == with_cluster
        for line in block.removeprefix(WITH_CLUSTER).splitlines()
    ]


def test_what_needs_no_cluster_runs(document: str, folder: Path) -> None:
    shown = commands(document, with_cluster=False)
    assert shown
    for command in shown:
        assert run(*command, cwd=folder).stdout


def test_what_needs_a_cluster_names_what_is_there(
    document: str, folder: Path, everything: Manifests
) -> None:
    shown = commands(document, with_cluster=True)
    assert shown
    labels = [template["metadata"]["labels"] for template in everything.templates().values()]
    components = {label["app.kubernetes.io/component"] for label in labels}
    for command in shown:
        for word in command:
            if word.startswith("deploy/"):
                assert (folder / word / "kustomization.yaml").exists()
            if re.match(r"(job|deployment|cluster)/", word):
                assert word in everything.names()
            if word.startswith("app.kubernetes.io/component="):
                assert word.partition("=")[2] in components


def test_it_says_how_each_secret_is_made(
    document: str, production: Manifests, everything: Manifests, tmp_path: Path
) -> None:
    """All but the one that the operator makes."""
    (tmp_path / "FILE").write_text("NAME=value\n")
    (tmp_path / "userlist.txt").write_text('"user" "password"\n')
    made = {
        yaml.safe_load(run(*command, "--dry-run=client", "--output=yaml", cwd=tmp_path).stdout)[
            "metadata"
        ]["name"]
        for command in commands(document, with_cluster=True)
        if command[:3] == ["kubectl", "create", "secret"]
    }
    assert made | {"database-app"} == set(secrets([*production.all, *everything.all]))


def secrets(value: object) -> Iterator[str]:
    """The names of all Secrets that manifests refer to."""
    if isinstance(value, list):
        for part in value:
            yield from secrets(part)
    if isinstance(value, dict):
        for key, part in value.items():
            if key in {"secret", "secretKeyRef", "accessKeyId", "secretAccessKey"}:
                yield part.get("secretName") or part["name"]
            else:
                yield from secrets(part)
