"""Manifests that Kubernetes accepts, and that do what they promise."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes_validate.utils import SchemaNotFoundError, latest_version, validate

from tests.conftest import ROOT, Render
from tests.kubernetes.conftest import Deploy
from tests.kubernetes.manifests import COMPONENTS, FOLDER, OVERLAYS, Manifest, Manifests, rendered

pytestmark = pytest.mark.slow

DOCKERFILE = ROOT / "template/Dockerfile"
# CloudNativePG's own, whose schemas are in no package: only their references are tested here.
WITHOUT_SCHEMA = {"Cluster", "ObjectStore", "Pooler", "ScheduledBackup"}
SETTINGS = ROOT / "template/src/app/core/config.py"
# Seconds that a collector which does not answer delays the end of the process by.
TRACES = 10


def dockerfile(pattern: str) -> str:
    [found] = set(re.findall(pattern, DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE))
    return str(found)


# ---- Accepted


# The oldest version that can do what is used here, and the newest that is known.
@pytest.mark.parametrize("version", ["1.30", latest_version()])
@pytest.mark.parametrize(
    ("overlay", "components"),
    [(overlay, []) for overlay in OVERLAYS] + [("production", COMPONENTS)],
)
def test_kubernetes_accepts_them(
    deploy: Deploy, overlay: str, components: list[str], version: str
) -> None:
    unknown = set()
    for manifest in deploy(overlay, *components).all:
        try:
            validate(manifest, version, strict=True)
        except SchemaNotFoundError:
            unknown.add(manifest["kind"])
    assert unknown == (WITHOUT_SCHEMA if components else set())


@pytest.mark.parametrize("slug", ["123", "a" * 70, f"{'a' * 49}-b", f"{'a' * 62}-b"])
def test_any_slug_gives_names_that_kubernetes_accepts(render: Render, slug: str) -> None:
    project = render(project_slug=slug)
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    for overlay in OVERLAYS:
        for manifest in rendered(project, overlay).all:
            assert re.fullmatch(label, manifest["metadata"]["namespace"])
            assert re.fullmatch(label, manifest["metadata"]["labels"]["app.kubernetes.io/name"])


def test_components_are_switched_on_by_their_line(render: Render) -> None:
    project = render()
    kustomization = project / FOLDER / "overlays/staging/kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    components = {"cluster/database", "deployment/pgbouncer"}
    assert not components & rendered(project, "staging").names()

    kustomization.write_text(re.sub(r"^# (components:|  - )", r"\1", text, flags=re.MULTILINE))

    assert components <= rendered(project, "staging").names()


# ---- Confined


def test_every_pod_is_confined(everything: Manifests) -> None:
    """As the `restricted` profile of the Pod Security Standards asks, and a little more."""
    for workload, template in everything.templates().items():
        pod, container = template["spec"], everything.container(workload)
        assert pod["automountServiceAccountToken"] is False, workload
        assert pod["enableServiceLinks"] is False, workload
        assert pod["securityContext"]["runAsNonRoot"] is True, workload
        assert pod["securityContext"]["runAsUser"] > 0, workload
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, workload
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, workload
        assert "memory" in container["resources"]["limits"], workload


@pytest.mark.parametrize("workload", ["deployment/web", "job/migrate"])
def test_the_images_run_as_their_dockerfile_says(production: Manifests, workload: str) -> None:
    user, group = dockerfile(r"^USER (\d+:\d+)$").split(":")
    pod = production.templates()[workload]["spec"]
    assert pod["securityContext"]["runAsUser"] == int(user)
    assert pod["securityContext"]["runAsGroup"] == int(group)
    [mount] = production.container(workload)["volumeMounts"]
    [volume] = pod["volumes"]
    assert mount == {"name": volume["name"], "mountPath": "/tmp"}  # noqa: S108
    assert "sizeLimit" in volume["emptyDir"]


def test_no_manifest_holds_a_secret(everything: Manifests, folder: Path) -> None:
    assert everything.of("Secret") == []
    for workload, variable in everything.variables():
        if re.search("URL|USER|PASSWORD|SECRET|KEY|TOKEN", variable["name"]):
            value = urlsplit(variable.get("value", ""))
            assert {"valueFrom"} <= variable.keys() or value.password, (workload, variable)
            assert (value.password or "$(").startswith("$("), (workload, variable)
    for file in (folder / "deploy").rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"://[^/\s:@]+:(?!\$\()[^/\s@]+@", text), file


# ---- Never fewer than wanted


def test_a_rollout_takes_no_replica_away_before_its_successor_is_ready(
    production: Manifests,
) -> None:
    spec = production.one("Deployment", "web")["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "readinessProbe" in production.container("deployment/web")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_alone_sets_the_number_of_replicas(deploy: Deploy, overlay: str) -> None:
    manifests = deploy(overlay)
    scaled = manifests.one("HorizontalPodAutoscaler", "web")["spec"]["scaleTargetRef"]
    deployment = manifests.one(scaled["kind"], scaled["name"])
    assert scaled["apiVersion"] == deployment["apiVersion"]
    assert "replicas" not in deployment["spec"]
    # A share of the request is what it goes by.
    assert "cpu" in manifests.container("deployment/web")["resources"]["requests"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nodes_can_be_drained_at_the_smallest_number_of_replicas(
    deploy: Deploy, overlay: str
) -> None:
    scaling = deploy(overlay).one("HorizontalPodAutoscaler", "web")["spec"]
    budget = deploy(overlay).one("PodDisruptionBudget", "web")["spec"]
    assert 1 <= scaling["minReplicas"] < scaling["maxReplicas"]
    assert budget["maxUnavailable"] >= 1
    if overlay == "production":
        assert scaling["minReplicas"] - budget["maxUnavailable"] >= 1


def test_what_selects_pods_selects_those_of_one_workload(everything: Manifests) -> None:
    def selected(labels: dict[str, str]) -> list[str]:
        templates = everything.templates().items()
        return [w for w, t in templates if labels.items() <= t["metadata"]["labels"].items()]

    for kind in ("Service", "PodDisruptionBudget", "Deployment"):
        for manifest in everything.of(kind):
            selector = manifest["spec"]["selector"]
            labels = selector.get("matchLabels", selector)
            assert selected(labels) == [f"deployment/{manifest['metadata']['name']}"], kind
    for deployment in everything.of("Deployment"):
        for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            name = deployment["metadata"]["name"]
            assert selected(spread["labelSelector"]["matchLabels"]) == [f"deployment/{name}"]


def test_services_reach_a_port_that_is_listened_on(everything: Manifests, folder: Path) -> None:
    for service in everything.of("Service"):
        container = everything.container(f"deployment/{service['metadata']['name']}")
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == ports.keys()
    [web] = everything.container("deployment/web")["ports"]
    assert web["containerPort"] == int(dockerfile(r"^EXPOSE (\d+)$"))
    [pgbouncer] = everything.container("deployment/pgbouncer")["ports"]
    ini = (folder / FOLDER / "components/pgbouncer/pgbouncer.ini").read_text(encoding="utf-8")
    assert f"listen_port = {pgbouncer['containerPort']}\n" in ini


def test_a_pooler_that_stops_has_time_for_its_transactions(everything: Manifests) -> None:
    pod = everything.templates()["deployment/pgbouncer"]["spec"]
    hook = everything.container("deployment/pgbouncer")["lifecycle"]["preStop"]["exec"]["command"]
    waits = [int(seconds) for seconds in re.findall(r"sleep (\d+)", hook[-1])]
    assert pod["terminationGracePeriodSeconds"] > sum(waits) > 0


def test_a_stop_has_time_for_the_proxies_and_then_for_the_requests(production: Manifests) -> None:
    pod = production.templates()["deployment/web"]["spec"]
    announced = production.container("deployment/web")["lifecycle"]["preStop"]["sleep"]["seconds"]
    found = re.search(r"SHUTDOWN_TIMEOUT: int = Field\(default=(\d+)", SETTINGS.read_text("utf-8"))
    assert found
    requests = int(found[1])
    assert pod["terminationGracePeriodSeconds"] > announced + requests + TRACES


# ---- Migrated first


def test_the_migration_is_of_the_version_that_is_rolled_out(deploy: Deploy) -> None:
    for overlay in OVERLAYS:
        web, version = deploy(overlay).container("deployment/web")["image"].rsplit(":", 1)
        assert deploy(overlay).container("job/migrate")["image"] == f"{web}-migrate:{version}"
    for target in ("web", "migrate"):
        assert re.search(rf"^FROM \S+ AS {target}$", DOCKERFILE.read_text(), re.MULTILINE)


def test_the_migration_needs_nothing_that_is_deployed_after_it(production: Manifests) -> None:
    text = yaml.safe_dump(production.one("Job", "migrate")["spec"])
    assert "configMap" not in text
    assert "serviceAccount" not in text


def test_a_migration_never_takes_the_way_of_the_service(production: Manifests) -> None:
    keys = {
        workload: variable["valueFrom"]["secretKeyRef"]
        for workload, variable in production.variables()
        if variable["name"] == "DATABASE_URL"
    }
    assert keys["job/migrate"] == {"name": "database", "key": "MIGRATION_DATABASE_URL"}
    assert keys["deployment/web"] == {"name": "database", "key": "DATABASE_URL"}


def wave(manifest: Manifest) -> int:
    annotations = manifest["metadata"].get("annotations", {})
    return int(annotations.get("argocd.argoproj.io/sync-wave", 0))


def test_waves_bring_the_database_then_the_migration_then_the_rest(everything: Manifests) -> None:
    [job] = everything.of("Job")
    first = {m["kind"] for m in everything.all if wave(m) < wave(job)}
    assert first == {"Cluster", "ObjectStore", "Pooler"}
    assert wave(everything.one("ObjectStore", "backups")) < wave(everything.of("Cluster")[0])
    for deployment in everything.of("Deployment"):
        assert wave(deployment) > wave(job)


def test_a_migration_can_follow_the_last_one(production: Manifests) -> None:
    """A Job cannot be changed: whoever deploys must know to delete it first."""
    job = production.one("Job", "migrate")
    annotations = job["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
    # Each failed try keeps its pod, and so what it printed.
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


# ---- The database in the cluster


def test_the_database_in_the_cluster_is_the_one_that_is_used(everything: Manifests) -> None:
    [cluster], [pooler], [backup] = map(everything.of, ["Cluster", "Pooler", "ScheduledBackup"])
    name, database = cluster["metadata"]["name"], cluster["spec"]["bootstrap"]["initdb"]["database"]
    assert pooler["spec"]["cluster"]["name"] == backup["spec"]["cluster"]["name"] == name
    # The operator refuses this.
    assert pooler["metadata"]["name"] != name
    [plugin] = cluster["spec"]["plugins"]
    assert backup["spec"]["pluginConfiguration"]["name"] == plugin["name"]
    assert everything.one("ObjectStore", plugin["parameters"]["barmanObjectName"])
    # Six fields: seconds come first.
    assert len(backup["spec"]["schedule"].split()) == 6

    variables = {v["name"]: v for w, v in everything.variables() if w == "deployment/web"}
    url = urlsplit(variables["DATABASE_URL"]["value"])
    assert url.hostname == pooler["metadata"]["name"]
    assert url.path == f"/{database}"
    # Kubernetes puts in only what is defined above.
    above = list(variables)[: list(variables).index("DATABASE_URL")]
    assert set(re.findall(r"\$\((\w+)\)", variables["DATABASE_URL"]["value"])) <= set(above)
    for variable in above:
        assert variables[variable]["valueFrom"]["secretKeyRef"]["name"] == f"{name}-app"

    [migration] = [v for w, v in everything.variables() if w == "job/migrate" and "valueFrom" in v]
    assert migration["valueFrom"]["secretKeyRef"] == {"name": f"{name}-app", "key": "uri"}


def test_poolers_keep_prepared_statements(everything: Manifests, folder: Path) -> None:
    [pooler] = everything.of("Pooler")
    assert pooler["spec"]["pgbouncer"]["poolMode"] == "transaction"
    assert int(pooler["spec"]["pgbouncer"]["parameters"]["max_prepared_statements"]) > 0
    ini = (folder / FOLDER / "components/pgbouncer/pgbouncer.ini").read_text(encoding="utf-8")
    assert "pool_mode = transaction\n" in ini
    assert re.search(r"^max_prepared_statements = [1-9]", ini, re.MULTILINE)


def test_the_poolers_leave_connections_for_the_migration(everything: Manifests) -> None:
    [cluster], [pooler] = map(everything.of, ["Cluster", "Pooler"])
    allowed = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
    pool = int(pooler["spec"]["pgbouncer"]["parameters"]["default_pool_size"])
    # The migration takes two; PostgreSQL keeps superuser_reserved_connections, three by default.
    assert pool * pooler["spec"]["instances"] + 2 + 3 <= allowed
