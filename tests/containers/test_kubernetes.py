"""The images, confined as the manifests confine them and asked as their probes ask."""

from typing import Any

import pytest

from packages.slipway.tests.processes import until
from tests.containers.engine import Postgres, docker, inspect
from tests.kubernetes.manifests import Manifest, Manifests, rendered
from tests.project import Project

pytestmark = pytest.mark.docker


@pytest.fixture
def staging(project: Project) -> Manifests:
    return rendered(project.path, "staging")


def options(manifests: Manifests, workload: str) -> list[str]:
    """What `docker run` needs to confine a container as the pod of this workload."""
    pod = manifests.templates()[workload]["spec"]
    container = manifests.container(workload)
    [volume] = pod["volumes"]
    [mount] = container["volumeMounts"]
    user, group = (pod["securityContext"][f"runAs{who}"] for who in ("User", "Group"))
    memory = container["resources"]["limits"]["memory"].removesuffix("i").lower()
    size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
    return [
        f"--user={user}:{group}",
        *(f"--memory={memory}", f"--memory-swap={memory}"),
        f"--tmpfs={mount['mountPath']}:size={size}",
    ]


def variables(manifests: Manifests, workload: str, url: str) -> dict[str, str]:
    """The environment of a container, with `url` wherever a Secret has one."""
    found: dict[str, str] = {}
    container = manifests.container(workload)
    for source in container.get("envFrom", []):
        if settings := source.get("configMapRef"):
            found |= manifests.one("ConfigMap", settings["name"])["data"]
    for variable in container["env"]:
        found[variable["name"]] = variable.get("value", url)
    return found


def answers(name: str, container: Manifest, probe: str) -> Any:
    """The status that a probe gets."""
    path = container[probe]["httpGet"]["path"]
    [port] = container["ports"]
    ask = (
        "import http.client;"
        f"c = http.client.HTTPConnection('127.0.0.1', {port['containerPort']});"
        f"c.request('GET', '{path}'); print(c.getresponse().status)"
    )
    return docker("exec", name, "python", "-c", ask, check=False).stdout.strip()


def test_a_replica_is_ready_once_the_job_has_succeeded(
    staging: Manifests, migrate_image: str, web_image: str, database: Postgres
) -> None:
    url = database.create_database()
    web = staging.container("deployment/web")
    with database.running(
        web_image,
        *options(staging, "deployment/web"),
        **variables(staging, "deployment/web", url),
    ) as name:
        until(lambda: answers(name, web, "startupProbe") == "200")
        assert answers(name, web, "readinessProbe") == "503"

        with database.running(
            migrate_image,
            *options(staging, "job/migrate"),
            **variables(staging, "job/migrate", url),
        ) as job:
            assert docker("wait", job).stdout.strip() == "0", docker("logs", job).stderr

        until(lambda: answers(name, web, "readinessProbe") == "200")
        assert answers(name, web, "livenessProbe") == "200"

        grace = staging.templates()["deployment/web"]["spec"]["terminationGracePeriodSeconds"]
        docker("stop", f"--time={grace}", name)
        # 137 would be SIGKILL.
        assert inspect(name)["State"]["ExitCode"] in {0, 143}
        assert not inspect(name)["State"]["OOMKilled"]
