"""The manifests against the service that they deploy."""

import json
from dataclasses import dataclass

import pytest

from tests.kubernetes.manifests import Manifests
from tests.project import Project

pytestmark = pytest.mark.slow

ASK = """
import json
from app.core.config import Settings
from app.core.health.readiness import TIMEOUT
from app.main import app

print(json.dumps({
    "paths": sorted(app.openapi()["paths"]),
    "settings": sorted(Settings.model_fields),
    "pool_size": Settings.model_fields["DATABASE_POOL_SIZE"].default,
    "readiness_timeout": TIMEOUT,
}))
"""


@dataclass(frozen=True)
class Served:
    paths: list[str]
    settings: list[str]
    pool_size: int
    readiness_timeout: float


@pytest.fixture
def served(project: Project) -> Served:
    url = "postgresql://nobody@/none?host=/nowhere"
    printed = project.uv_run("python", "-c", ASK, DATABASE_URL=url).stdout
    return Served(**json.loads(printed))


def test_what_is_deployed_fits_the_service(
    served: Served, production: Manifests, everything: Manifests
) -> None:
    container = production.container("deployment/web")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in served.paths
    # A database that does not answer is a 503 with its reason, before the probe is given up.
    assert container["readinessProbe"]["timeoutSeconds"] > served.readiness_timeout
    # No probe that restarts a replica may depend on anything else.
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["startupProbe"]["httpGet"]["path"] == "/health/live"

    named = {v["name"] for w, v in production.variables() if "value" in v or "valueFrom" in v}
    [settings] = production.of("ConfigMap")
    assert named | settings["data"].keys() <= set(served.settings)

    # All replicas, a quarter more during a rollout, and the migration, without a pooler.
    replicas = production.one("HorizontalPodAutoscaler", "web")["spec"]["maxReplicas"]
    surge = production.one("Deployment", "web")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    most = replicas + -(-replicas * int(surge.removesuffix("%")) // 100)
    [cluster] = everything.of("Cluster")
    allowed = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
    assert most * (served.pool_size + 1) + 2 + 3 <= allowed
