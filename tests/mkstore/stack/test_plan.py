"""The processes of one run."""

from pathlib import Path

import pytest

from mkstore.services import SERVICES
from mkstore.stack.plan import Options, make_plan
from mkstore.stack.state_dir import open_state_dir

EXTERNAL = {"NATS_URL": "nats://127.0.0.1:4222", "DB_HOST": "127.0.0.1"}


def _workers(home: Path, *, wanted: int | None, cores: int) -> dict[str, int]:
    options = Options(0, home, ephemeral=False, workers=wanted)
    with open_state_dir(home, ephemeral=False) as state:
        plan = make_plan(options, SERVICES, state, EXTERNAL, niceness=0, cores=cores)
    return {service.name: service.workers for service in plan.services}


@pytest.mark.parametrize(
    ("cores", "gateway", "others"), [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1), (8, 4, 2), (16, 4, 4), (64, 4, 4)]
)
def test_number_of_processes_follows_the_cores(tmp_path: Path, cores: int, gateway: int, others: int) -> None:
    expected = {spec.name: gateway if spec.name == "gateway" else others for spec in SERVICES}
    assert _workers(tmp_path, wanted=None, cores=cores) == expected


def test_given_number_of_processes_holds_for_each_service(tmp_path: Path) -> None:
    assert set(_workers(tmp_path, wanted=3, cores=2).values()) == {3}


def test_each_service_has_its_own_logins(tmp_path: Path) -> None:
    options = Options(0, tmp_path, ephemeral=False, workers=1)
    with open_state_dir(tmp_path, ephemeral=False) as state:
        plan = make_plan(options, SERVICES, state, {}, niceness=0)
    users, payments, gateway = (plan.environments[name] for name in ("users", "payments", "gateway"))
    assert (users["DB_USER"], payments["DB_USER"]) == ("users", "payments")
    assert plan.nats
    assert plan.primary is not None
    passwords = {users["DB_PASSWORD"], payments["DB_PASSWORD"], plan.primary.password}
    assert len(passwords) == 3
    assert gateway["LIVE_NATS_URL"].startswith("nats://watcher:")
    for env in plan.environments.values():
        assert plan.admin_url not in env.values()
        assert plan.primary.password not in env.values()


def test_cluster_has_three_nats_servers_and_two_processes_of_each_service(tmp_path: Path) -> None:
    options = Options(0, tmp_path, ephemeral=False, workers=None, cluster=True)
    with open_state_dir(tmp_path, ephemeral=False) as state:
        plan = make_plan(options, SERVICES, state, {}, niceness=0, cores=1)
    assert [node.name for node in plan.nats] == ["nats-1", "nats-2", "nats-3"]
    assert {service.workers for service in plan.services} == {2}
    for env in plan.environments.values():
        assert (len(env["NATS_URL"].split(",")), env["STREAM_REPLICAS"]) == (3, "3")
        assert len(env["NATS_MONITOR_URL"].split(",")) == 3
    nodes = plan.record()["nats"]["nodes"]
    assert isinstance(nodes, list)
    assert [node["url"] for node in nodes] == [node.address for node in plan.nats]


@pytest.mark.parametrize(("given", "trusted"), [({}, ""), ({"FORWARDED_ALLOW_IPS": "10.0.0.1"}, "10.0.0.1")])
def test_no_proxy_is_trusted_unless_it_is_named(tmp_path: Path, given: dict[str, str], trusted: str) -> None:
    options = Options(0, tmp_path, ephemeral=False, workers=1)
    with open_state_dir(tmp_path, ephemeral=False) as state:
        plan = make_plan(options, SERVICES, state, EXTERNAL | given, niceness=0)
        assert {env["FORWARDED_ALLOW_IPS"] for env in plan.environments.values()} == {trusted}
        assert "127.0.0.1:4222" not in repr(plan)


def test_gateway_reads_the_traces_that_every_service_exports(tmp_path: Path) -> None:
    options = Options(0, tmp_path, ephemeral=False, workers=1)
    with open_state_dir(tmp_path, ephemeral=False) as state:
        plan = make_plan(options, SERVICES, state, EXTERNAL, niceness=0)
        again = make_plan(options, SERVICES, state, EXTERNAL, niceness=0)
    assert plan.traces is not None
    assert again.traces is not None
    assert plan.traces.token != again.traces.token
    assert plan.traces.token not in repr(plan)
    assert {env["OTEL_EXPORTER_OTLP_ENDPOINT"] for env in plan.environments.values()} == {plan.traces.url}
    assert {name for name, env in plan.environments.items() if "TRACES_URL" in env} == {"gateway"}
    assert plan.environments["gateway"]["TRACES_URL"] == plan.traces.url


@pytest.mark.parametrize(
    "given", [{"OTEL_SDK_DISABLED": "TRUE"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}]
)
def test_no_traces_are_received_if_they_are_off_or_go_elsewhere(tmp_path: Path, given: dict[str, str]) -> None:
    options = Options(0, tmp_path, ephemeral=False, workers=1)
    with open_state_dir(tmp_path, ephemeral=False) as state:
        plan = make_plan(options, SERVICES, state, EXTERNAL | given, niceness=0)
    assert plan.traces is None
    for env in plan.environments.values():
        assert env.get("OTEL_EXPORTER_OTLP_ENDPOINT") == given.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        assert "TRACES_URL" not in env
