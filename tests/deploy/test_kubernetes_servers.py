"""NATS and PostgreSQL in Kubernetes: who may connect to them, their logins and their configuration."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from contracts.logins import WATCHER
from kit.runtime.settings import DatabaseSettings
from mkstore.services import SERVICES
from mkstore.stack.servers.nats import MAX_PAYLOAD
from tests.conftest import ROOT
from tests.support.compose import environment_of
from tests.support.kubernetes import Pod, matches, operator_files, rendered

WITH_DATABASE = [spec for spec in SERVICES if spec.database]
LOGINS = {f"NATS_{name.upper()}_PASSWORD" for name in (*(spec.name for spec in SERVICES), WATCHER, "operator")}
NATS_PORTS = {4222, 8222}
EXTRA_CONNECTIONS = 3
"""Connections of a process beside its pool: checks and the relay."""


def policies() -> dict[str, Mapping[str, Any]]:
    return {name: each["spec"] for name, each in rendered("production").of_kind("NetworkPolicy").items()}


def allowed(pod: Pod, direction: str) -> Iterator[tuple[str, int]]:
    """Yield the namespaces and ports that policies allow a pod."""
    peers = {"egress": "to", "ingress": "from"}[direction]
    for policy in policies().values():
        for rule in policy.get(direction, []) if matches(policy["podSelector"], pod.labels) else []:
            for peer in rule[peers]:
                namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                yield from ((namespace, port["port"]) for port in rule["ports"])


@pytest.mark.parametrize("pod", [pytest.param(pod, id=pod.name) for pod in rendered("production").pods()])
def test_pod_connects_to_what_its_settings_name(pod: Pod) -> None:
    environment = rendered("production").environment(pod)
    named = {("nats", port) for port in NATS_PORTS} | {("kube-system", 53)}
    assert environment["NATS_MONITOR_URL"] == "http://nats-headless.nats.svc:8222"
    if "DB_HOST" in environment:
        assert environment["DB_HOST"] == "postgres-rw.postgres.svc"
        named.add(("postgres", int(environment["DB_PORT"])))
    assert set(allowed(pod, "egress")) == named


def test_only_the_proxy_and_the_monitoring_connect_to_pods() -> None:
    services = rendered("production").services()
    for name, pod in services.items():
        ports = {port["name"]: port["containerPort"] for port in pod.container["ports"]}
        clients = {("ingress", ports["http"])} if name == "gateway" else set()
        assert set(allowed(pod, "ingress")) == clients | {("monitoring", ports["metrics"])}
    jobs = [pod for pod in rendered("production").pods() if pod.kind == "Job"]
    assert not any(set(allowed(job, "ingress")) for job in jobs)


def test_everything_else_is_denied() -> None:
    assert policies()["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_policy_selects_a_pod() -> None:
    labels = [pod.labels for pod in rendered("production").pods()]
    for name, policy in policies().items():
        assert any(matches(policy["podSelector"], each) for each in labels), name


def test_servers_admit_the_namespace_of_the_store() -> None:
    for policy in operator_files("network-policies.yaml"):
        peers = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
        assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mkstore"}}} in peers
        assert policy["spec"]["policyTypes"] == ["Ingress"]


def test_only_the_store_and_nats_reach_the_monitoring_of_nats() -> None:
    """Port 8222 asks for no login."""
    (policy,) = [each["spec"] for each in operator_files("network-policies.yaml") if each["metadata"]["name"] == "nats"]
    rules = [rule for rule in policy["ingress"] if 8222 in {port["port"] for port in rule["ports"]}]
    store = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mkstore"}}}
    assert [peer for rule in rules for peer in rule["from"]] == [store, {"podSelector": {}}]
    assert all("ports" in rule for rule in policy["ingress"])  # a rule without ports would allow every port


@pytest.mark.parametrize("overlay", ["development", "production"])
def test_no_service_has_a_port_outside_of_the_cluster(overlay: str) -> None:
    services = rendered(overlay).of_kind("Service").values()
    assert {each["spec"].get("type", "ClusterIP") for each in services} == {"ClusterIP"}


def test_nats_values_follow_the_configuration_of_compose() -> None:
    (values,) = operator_files("nats-values.yaml")
    configured = (ROOT / "deploy/nats.conf").read_text()
    merged = values["config"]["merge"]
    assert merged["max_payload"] == MAX_PAYLOAD
    for name in ("ping_interval", "ping_max", "max_payload"):
        (value,) = re.findall(rf"^{name}: (\S+)", configured, re.MULTILINE)
        assert str(merged[name]) == value.strip('"')
    assert values["config"]["jetstream"]["merge"] == {"sync_interval": "always"}
    assert "sync_interval: always" in configured
    assert merged["$include"].rpartition("/")[2] == "nats-accounts.conf"
    assert (ROOT / "deploy/nats-accounts.conf").exists()


def test_nats_values_have_the_image_of_compose_and_its_replicas(composed: dict[str, Any]) -> None:
    (values,) = operator_files("nats-values.yaml")
    image = values["container"]["image"]
    assert f"{image['repository']}:{image['tag']}" == composed["services"]["nats"]["image"]
    gateway = rendered("production").services()["gateway"]
    assert rendered("production").environment(gateway)["STREAM_REPLICAS"] == str(
        values["config"]["cluster"]["replicas"]
    )


def test_nats_values_give_every_login_its_password() -> None:
    (values,) = operator_files("nats-values.yaml")
    sources = {name: each["valueFrom"]["secretKeyRef"] for name, each in values["container"]["env"].items()}
    assert sources == {name: {"name": "nats-passwords", "key": name} for name in LOGINS}


def test_postgres_cluster_has_a_role_and_a_database_per_service() -> None:
    cluster, *databases = operator_files("postgres.yaml")
    first, *others = WITH_DATABASE
    initial = cluster["spec"]["bootstrap"]["initdb"]
    assert initial == {"database": first.database, "owner": first.name, "secret": {"name": f"postgres-{first.name}"}}
    roles = {role["name"]: role for role in cluster["spec"]["managed"]["roles"]}
    assert roles == {
        spec.name: {"name": spec.name, "login": True, "passwordSecret": {"name": f"postgres-{spec.name}"}}
        for spec in others
    }
    owners = {each["spec"]["name"]: each["spec"]["owner"] for each in databases}
    assert owners == {spec.database: spec.name for spec in others}
    assert {each["spec"]["cluster"]["name"] for each in databases} <= {cluster["metadata"]["name"]}


def test_postgres_role_reaches_its_own_database_only() -> None:
    cluster = operator_files("postgres.yaml")[0]
    *own, last = cluster["spec"]["postgresql"]["pg_hba"]
    assert set(own) == {f"hostssl {spec.database} {spec.name} all scram-sha-256" for spec in WITH_DATABASE}
    assert last == "host all all all reject"


def test_postgres_has_connections_for_all_pods() -> None:
    cluster = operator_files("postgres.yaml")[0]
    pool = DatabaseSettings.model_fields["db_pool_size"].default + EXTRA_CONNECTIONS
    scalers = rendered("production").of_kind("HorizontalPodAutoscaler")
    pods = sum(
        scalers[f"mkstore-{spec.name}"]["spec"]["maxReplicas"] + 1 for spec in WITH_DATABASE
    )  # one more: a rollout
    assert pods * pool < int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_development_runs_the_servers_of_compose(composed: dict[str, Any]) -> None:
    sets = {
        each["metadata"]["name"]: each for each in rendered("development").resources if each["kind"] == "StatefulSet"
    }
    assert set(sets) == {"nats", "postgres"}
    for name, each in sets.items():
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert container["image"] == composed["services"][name]["image"]
    assert sets["nats"]["spec"]["template"]["spec"]["containers"][0]["args"] == composed["services"]["nats"]["command"]


def test_development_servers_have_the_logins_of_compose(composed: dict[str, Any]) -> None:
    secrets = {
        each["metadata"]["namespace"]: {name: decoded(value) for name, value in each["data"].items()}
        for each in rendered("development").resources
        if each["kind"] == "Secret" and each["metadata"]["namespace"] != "mkstore"
    }
    assert secrets == {server: environment_of(composed, server) for server in ("nats", "postgres")}


def test_development_services_have_the_logins_of_compose(composed: dict[str, Any]) -> None:
    for pod in rendered("development").pods():
        given = environment_of(composed, pod.part)
        (secret,) = (volume["secret"]["secretName"] for volume in pod.spec["volumes"] if "secret" in volume)
        for name, value in rendered("development").of_kind("Secret")[secret]["data"].items():
            assert decoded(value) == given[name].replace("@nats:", "@nats.nats.svc:")


def decoded(value: str) -> str:
    return base64.b64decode(value).decode()
