"""The manifests of a project as `kubectl` renders them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from packages.slipway.tests.processes import run

FOLDER = "deploy/kubernetes"
OVERLAYS = ["staging", "production"]
COMPONENTS = ["cloudnative-pg", "pgbouncer"]

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Manifests:
    all: list[Manifest]

    def of(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.all if manifest["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        [found] = [found for found in self.of(kind) if found["metadata"]["name"] == name]
        return found

    def names(self) -> set[str]:
        """`deployment/web` and so on."""
        return {f"{found['kind'].lower()}/{found['metadata']['name']}" for found in self.all}

    def templates(self) -> dict[str, Manifest]:
        """The template of the pods of each Deployment and Job."""
        return {
            f"{found['kind'].lower()}/{found['metadata']['name']}": found["spec"]["template"]
            for found in (*self.of("Deployment"), *self.of("Job"))
        }

    def container(self, workload: str) -> Manifest:
        [container] = self.templates()[workload]["spec"]["containers"]
        return dict(container)

    def variables(self) -> Iterator[tuple[str, Manifest]]:
        """Each environment variable, with the workload that has it."""
        for workload in self.templates():
            for variable in self.container(workload).get("env", []):
                yield workload, variable


def rendered(project: Path, overlay: str, *components: str) -> Manifests:
    """Render an overlay; with components, as if they stood in it."""
    folder = project / FOLDER / "overlays" / overlay
    if components:
        folder = project / FOLDER / "overlays" / "_".join([overlay, *components])
        folder.mkdir(exist_ok=True)
        kustomization = {
            "resources": [f"../{overlay}"],
            "components": [f"../../components/{component}" for component in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    printed = run("kubectl", "kustomize", str(folder), cwd=project).stdout
    return Manifests(list(yaml.safe_load_all(printed)))
