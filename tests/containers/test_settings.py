"""Names of variables, in files and documents of a deployment: something reads each of them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Render

COMPOSE = ["docker-compose.yml", "docker-compose.prod.yml"]
SETTINGS = set(
    re.findall(
        r"^    ([A-Z_]+): ",
        (ROOT / "template/src/app/core/config.py").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
WITH_FILES = SETTINGS | {f"{name}_FILE" for name in SETTINGS}
# Programs beside the service, by the beginning of the names that they read.
OTHERS = ("OTEL_", "POSTGRES_", "PYTHON", "UV_")


@pytest.fixture
def project(render: Render) -> Path:
    return render()


def services(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8"))["services"])


def interpolated(folder: Path) -> set[str]:
    """What Compose itself reads."""
    return set(re.findall(r"\$\{([A-Z_]+)", "".join((folder / f).read_text() for f in COMPOSE)))


def test_containers_are_given_only_what_the_service_reads(project: Path) -> None:
    for file in [*(project / name for name in COMPOSE), ROOT / "docker-compose.yml"]:
        for name, service in services(file).items():
            for variable in service.get("environment", {}):
                read = variable.startswith("POSTGRES_") if name == "db" else variable in WITH_FILES
                assert read, f"{variable} of {name} in {file}"


def test_the_example_lists_every_setting_and_nothing_else(project: Path) -> None:
    example = (project / ".env.example").read_text(encoding="utf-8")
    listed = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))

    assert listed >= SETTINGS
    assert listed <= WITH_FILES | interpolated(project)


def test_a_stop_leaves_time_for_what_is_set(project: Path) -> None:
    document = (project / "docs/deployment.md").read_text(encoding="utf-8")
    delay, timeout, traces, allowed = (
        int(re.findall(pattern, document)[0])
        for pattern in [
            r"SHUTDOWN_DELAY=(\d+)",
            r"`SHUTDOWN_TIMEOUT` \((\d+) s\)",
            r"delays the end of the process by up to (\d+) s",
            r"`terminationGracePeriodSeconds`\nare (\d+) s",
        ]
    )

    web = services(project / "docker-compose.prod.yml")["web"]
    assert web["stop_grace_period"] == f"{allowed}s"
    assert allowed > delay + timeout + traces


def test_documents_and_manifests_name_what_is_read(project: Path) -> None:
    # The keys of Secrets, and what a manifest makes for its own use, are named there.
    manifests = [path for path in (project / "deploy").rglob("*") if path.is_file()]
    own = set(
        re.findall(
            r"(?:name|key): ([A-Z_]+)$", "\n".join(map(Path.read_text, manifests)), re.MULTILINE
        )
    )
    known = WITH_FILES | interpolated(project) | own
    names = ["Dockerfile", "README.md", "docs/deployment.md", *COMPOSE]
    for path in [*(project / name for name in names), *manifests]:
        for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", path.read_text(encoding="utf-8")):
            assert name in known or name.startswith(OTHERS), f"{name} in {path}"
