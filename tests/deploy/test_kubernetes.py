"""Everything that the manifests name exists in the project: images, ports, paths, variables, secrets, commands."""

import importlib
import os
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from contracts.consumers import PAYMENTS_CREATE_PAYMENT, PAYMENTS_CREATE_PAYMENTS
from contracts.logins import IMPORTED_API
from kit.ops.metrics import Metrics
from kit.runtime.secrets import FILE_SUFFIX
from kit.runtime.settings import DatabaseSettings, ProvisioningSettings, Settings, load, secret_rule
from mkstore.cli.main import app
from mkstore.services import SERVICES
from tests.conftest import ROOT
from tests.support.certificates import new_certificates
from tests.support.dockerfile import instructions
from tests.support.kubernetes import AUTHORITY, MANIFESTS, SECRETS, Pod, build, matches, rendered

NAMES = [spec.name for spec in SERVICES]
WITH_DATABASE = [spec.name for spec in SERVICES if spec.database]
OVERLAYS = ("development", "production")
OF_THE_SERVER = {"FORWARDED_ALLOW_IPS"}
"""Variables that uvicorn reads."""

PODS = [pytest.param(pod, id=f"{pod.kind}-{pod.part}") for pod in rendered("production").pods()]
IN_SERVICES = [pytest.param(pod, id=pod.part) for pod in rendered("production").services().values()]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what `mkstore secrets` makes."""
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    assert CliRunner().invoke(app, ["secrets", str(folder), "--nats", "nats.nats.svc:4222"]).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what `mkstore certs` makes."""
    return new_certificates(tmp_path_factory.mktemp("authority") / "certs")


def settings_of(pod: Pod) -> type[Settings]:
    if pod.part == "provision":
        return ProvisioningSettings
    settings: type[Settings] = importlib.import_module(f"apps.{pod.part}.settings").Settings
    return settings


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_is_deployed_and_every_database_migrated(overlay: str) -> None:
    assert set(rendered(overlay).services()) == set(NAMES)
    assert set(rendered(overlay).of_kind("Service")) == {f"mkstore-{name}" for name in NAMES}
    jobs = {pod.part for pod in rendered(overlay).pods() if pod.kind == "Job"}
    assert jobs == {*WITH_DATABASE, "provision"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_those_that_compose_builds(overlay: str, composed: dict[str, Any]) -> None:
    built = {name: composed["services"][name]["image"] for name in (*NAMES, "provision")}
    for pod in rendered(overlay).pods():
        name, _, tag = pod.container["image"].rpartition("/")[2].partition(":")
        assert name == built[pod.part]
        assert tag == (version() if overlay == "production" else "")


@pytest.mark.parametrize("pod", PODS)
def test_jobs_run_the_commands_of_compose(pod: Pod, composed: dict[str, Any]) -> None:
    if pod.kind == "Deployment":
        assert "command" not in pod.container  # that of the image
        assert "args" not in pod.container
    else:
        service = "provision" if pod.part == "provision" else f"{pod.part}-migrations"
        assert pod.container["command"] == composed["services"][service]["command"]


@pytest.mark.parametrize("pod", PODS)
def test_every_variable_is_a_setting(pod: Pod) -> None:
    known = {name.upper() for name in settings_of(pod).model_fields}
    secret = {name.upper() for name, field in settings_of(pod).model_fields.items() if secret_rule(field)}
    allowed = known | OF_THE_SERVER | {f"{name}{FILE_SUFFIX}" for name in secret}
    assert set(rendered("production").environment(pod)) <= allowed


@pytest.mark.parametrize("pod", PODS)
def test_production_settings_are_valid_with_the_secrets(
    pod: Pod, secrets: Path, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in rendered("production").environment(pod).items():
        own = value.replace(SECRETS, str(secrets / pod.part)).replace(AUTHORITY, str(authority))
        monkeypatch.setenv(name, own)
    settings = load(settings_of(pod))
    assert settings.app_env == "production"
    assert settings.nats_api_prefix == IMPORTED_API
    assert settings.nats_url.endswith("@nats.nats.svc:4222")


@pytest.mark.parametrize("pod", PODS)
def test_pod_mounts_its_secrets(pod: Pod, secrets: Path) -> None:
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in pod.container["volumeMounts"]}
    assert mounts[SECRETS]["secret"]["secretName"] == f"mkstore-{pod.part}"
    named = {value for value in rendered("production").environment(pod).values() if value.startswith(SECRETS)}
    assert named == {f"{SECRETS}/{file.name}" for file in (secrets / pod.part).iterdir()}


@pytest.mark.parametrize("name", WITH_DATABASE)
def test_service_has_its_own_database(name: str) -> None:
    overlay = rendered("production")
    for pod in overlay.pods():
        if pod.part == name:
            environment = overlay.environment(pod)
            assert issubclass(settings_of(pod), DatabaseSettings)
            assert environment["DB_USER"] == name
            assert environment["DB_DATABASE"] == settings_of(pod).model_fields["db_database"].default


@pytest.mark.parametrize("pod", IN_SERVICES)
def test_ports_are_that_of_the_image(pod: Pod) -> None:
    (variables,) = (each.text for each in instructions(ROOT / "Dockerfile") if "PORT=" in each.text)
    ports = {port["name"]: port["containerPort"] for port in pod.container["ports"]}
    environment = rendered("production").environment(pod)
    assert f"PORT={ports['http']}" in variables.split()
    assert (environment["METRICS_HOST"], environment["METRICS_PORT"]) == ("0.0.0.0", str(ports["metrics"]))
    service = rendered("production").of_kind("Service")[pod.name]["spec"]
    assert [each["targetPort"] for each in service["ports"]] == ["http"]
    assert matches({"matchLabels": service["selector"]}, pod.labels)


@pytest.mark.parametrize("pod", IN_SERVICES)
async def test_probes_use_paths_of_the_service(pod: Pod) -> None:
    application = importlib.import_module(f"apps.{pod.part}.main").app
    probes = {kind: pod.container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://127.0.0.1") as client:
        answers = {kind: (await client.get(probe["path"])).status_code for kind, probe in probes.items()}
    # Without NATS: alive, and not ready.
    assert answers == {"startup": 200, "liveness": 200, "readiness": 503}
    assert {probe["port"] for probe in probes.values()} == {"http"}


@pytest.mark.parametrize("pod", PODS)
def test_pod_is_read_only_and_unprivileged(pod: Pod) -> None:
    (user,) = (each.text for each in instructions(ROOT / "Dockerfile") if each.name == "USER")
    context = pod.spec["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    container = pod.container["securityContext"]
    assert container["readOnlyRootFilesystem"]
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert set(pod.container["resources"]["limits"]) == {"cpu", "memory"}
    accounts = rendered("production").of_kind("ServiceAccount")
    assert accounts[pod.spec["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert pod.spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("pod", IN_SERVICES)
def test_service_survives_the_drain_of_a_node(pod: Pod, composed: dict[str, Any]) -> None:
    budget = rendered("production").of_kind("PodDisruptionBudget")[pod.name]["spec"]
    scaler = rendered("production").of_kind("HorizontalPodAutoscaler")[pod.name]["spec"]
    assert matches(budget["selector"], pod.labels)
    assert scaler["scaleTargetRef"]["name"] == pod.name
    assert scaler["minReplicas"] > budget["maxUnavailable"]
    assert all(matches(each["labelSelector"], pod.labels) for each in pod.spec["topologySpreadConstraints"])
    assert composed["services"][pod.part]["stop_grace_period"] == f"{pod.spec['terminationGracePeriodSeconds']}s"


def test_selectors_of_services_select_no_job() -> None:
    overlay = rendered("production")
    jobs = [pod for pod in overlay.pods() if pod.kind == "Job"]
    for deployment in overlay.of_kind("Deployment").values():
        assert not any(matches(deployment["spec"]["selector"], job.labels) for job in jobs)


def test_prometheus_reads_the_metrics_of_every_service() -> None:
    monitor = yaml.safe_load((MANIFESTS / "operators/pod-monitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] in dict(Metrics().routes())
    assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/name"
    for pod in rendered("production").services().values():
        assert matches(monitor["spec"]["selector"], pod.labels)
        assert endpoint["port"] in {port["name"] for port in pod.container["ports"]}


def test_component_scales_payments_on_the_commands_that_wait(tmp_path: Path) -> None:
    parts = (MANIFESTS / path for path in ("overlays/production", "components/scale-on-lag"))
    overlay, component = (os.path.relpath(path, tmp_path.resolve()) for path in parts)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{overlay}]\ncomponents: [{component}]\n")
    scaler = build(tmp_path.resolve()).of_kind("HorizontalPodAutoscaler")["mkstore-payments"]
    targets = {}
    for each in (metric["external"] for metric in scaler["spec"]["metrics"] if metric["type"] == "External"):
        assert f'"{each["metric"]["name"]}"' in (ROOT / "kit/ops/gauges.py").read_text()
        targets[each["metric"]["selector"]["matchLabels"]["consumer"]] = int(each["target"]["averageValue"])
    assert targets == {each.name: each.at_once for each in (PAYMENTS_CREATE_PAYMENT, PAYMENTS_CREATE_PAYMENTS)}


def test_password_hashes_use_the_cores_of_the_limit() -> None:
    users = rendered("production").services()["users"]
    threads = rendered("production").environment(users)["PASSWORD_THREADS"]
    assert users.container["resources"]["limits"]["cpu"] == threads


def test_ingress_leads_to_the_gateway_only() -> None:
    (ingress,) = rendered("production").of_kind("Ingress").values()
    backends = [path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert backends == [{"name": "mkstore-gateway", "port": {"name": "http"}}]
    environment = rendered("production").environment(rendered("production").services()["gateway"])
    (rule,) = ingress["spec"]["rules"]
    assert environment["ASYNCAPI_URL"] == f"https://{rule['host']}/asyncapi"
