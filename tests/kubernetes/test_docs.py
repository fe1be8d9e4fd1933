"""docs/deployment.md: what it shows is run, or needs a cluster and names only what is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from packages.slipway.tests.processes import run
from tests.kubernetes.manifests import Manifests

pytestmark = pytest.mark.slow

# Begins a block that needs what is not here. An engine is in tests/containers/test_proxy.py.
NEED = r"# with an? (\w+)\n"


@pytest.fixture(scope="session")
def document(folder: Path) -> str:
    return (folder / "docs/deployment.md").read_text(encoding="utf-8")


def commands(document: str, *, need: str) -> list[list[str]]:
    return [
        shlex.split(line.removeprefix("$ "))
        for needed, block in re.findall(rf"```console\n(?:{NEED})?(.*?)```", document, re.DOTALL)
        if needed == need
        for line in block.splitlines()
    ]


def test_what_needs_no_cluster_runs(document: str, folder: Path) -> None:
    shown = commands(document, need="")
    assert shown
    for command in shown:
        assert run(*command, cwd=folder).stdout


def test_what_needs_a_cluster_names_what_is_there(
    document: str, folder: Path, everything: Manifests
) -> None:
    shown = commands(document, need="cluster")
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
        for command in commands(document, need="cluster")
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
            if key in {"secret", "secretRef", "secretKeyRef", "accessKeyId", "secretAccessKey"}:
                yield part.get("secretName") or part["name"]
            else:
                yield from secrets(part)
