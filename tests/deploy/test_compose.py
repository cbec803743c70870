"""docker-compose.yml, resolved by Compose itself."""

import importlib
from typing import Any

import pytest

from kit.runtime.settings import ProvisioningSettings
from mkstore.services import SERVICES
from tests.support.compose import config, environment_of

NAMES = [spec.name for spec in SERVICES]
WITH_DATABASE = [spec.name for spec in SERVICES if spec.database]


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    return config()


def test_compose_has_every_service_and_its_migrations(model: dict[str, Any]) -> None:
    migrations = {f"{name}-migrations" for name in WITH_DATABASE}
    assert set(model["services"]) == {"nats", "postgres", "provision", *NAMES, *migrations}


def test_ports_are_published_on_the_loopback_only(model: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in model["services"].items() if service.get("ports")}
    assert set(published) == {"gateway", "nats"}
    assert all(port["host_ip"] == "127.0.0.1" for ports in published.values() for port in ports)


def test_monitoring_of_nats_and_metrics_are_not_published(model: dict[str, Any]) -> None:
    """They ask for no login: ports 8222 of NATS and 9100 of the services."""
    published = {port["target"] for service in model["services"].values() for port in service.get("ports", [])}
    assert published == {4222, 8000}


def test_ports_are_configurable() -> None:
    services = config(env={"PORT": "3100", "NATS_PORT": "4322"})["services"]
    assert [services[name]["ports"][0]["published"] for name in ("gateway", "nats")] == ["3100", "4322"]
    assert "PORT" not in services["gateway"]["environment"]  # inside it is the image's own


def test_no_proxy_is_trusted_unless_it_is_named(model: dict[str, Any]) -> None:
    assert model["services"]["gateway"]["environment"]["FORWARDED_ALLOW_IPS"] == ""


def test_service_waits_for_servers_and_migrations(model: dict[str, Any]) -> None:
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in model["services"].items()
    }
    servers: dict[str, dict[str, str]] = {"nats": {}, "postgres": {}}
    provision = {"provision": "service_completed_successfully"}
    migrations = {f"{name}-migrations": {"postgres": "service_healthy"} for name in WITH_DATABASE}
    services = {
        name: {"nats": "service_healthy", f"{name}-migrations": "service_completed_successfully"} | provision
        for name in WITH_DATABASE
    }
    gateway = {"nats": "service_healthy"} | provision | dict.fromkeys(WITH_DATABASE, "service_healthy")
    assert waits == servers | {"provision": {"nats": "service_healthy"}} | migrations | services | {"gateway": gateway}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_configurable(model: dict[str, Any], name: str) -> None:
    settings = importlib.import_module(f"apps.{name}.settings").Settings
    given = {field.upper() for field in settings.model_fields}
    assert given - {"PORT"} <= set(model["services"][name]["environment"])


def test_every_setting_of_the_provision_job_is_configurable(model: dict[str, Any]) -> None:
    given = {field.upper() for field in ProvisioningSettings.model_fields}
    assert given <= set(model["services"]["provision"]["environment"])


def test_each_secret_reaches_only_its_services(model: dict[str, Any]) -> None:
    holders = {name for name, service in model["services"].items() if "JWT_SECRET" in service.get("environment", {})}
    assert holders == {"users", "users-migrations"}  # a migration reads the service's settings
    assert not any("DB_" in variable for variable in model["services"]["gateway"]["environment"])
    mine = environment_of(
        config(env={"PAYMENTS_DB_PASSWORD": "of payments", "USERS_DB_PASSWORD": "of users"}), "payments"
    )
    assert (mine["DB_USER"], mine["DB_PASSWORD"]) == ("payments", "of payments")


@pytest.mark.parametrize("name", NAMES)
def test_container_is_read_only_and_unprivileged(model: dict[str, Any], name: str) -> None:
    service = model["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["build"]["args"] == {"SERVICE": name}


@pytest.mark.parametrize("name", NAMES)
def test_own_images_are_built_and_never_pulled(model: dict[str, Any], name: str) -> None:
    # An image that somebody else publishes under the name would run with our secrets.
    assert model["services"][name]["pull_policy"] == "build"
    if migrations := model["services"].get(f"{name}-migrations"):
        assert (migrations["image"], migrations["pull_policy"]) == (model["services"][name]["image"], "never")


def test_server_data_is_in_named_volumes(model: dict[str, Any]) -> None:
    kept = {
        name: {mount["source"]: mount["target"] for mount in service["volumes"] if mount["type"] == "volume"}
        for name, service in model["services"].items()
        if service.get("volumes")
    }
    assert kept == {"nats": {"nats": "/data"}, "postgres": {"postgres": "/var/lib/postgresql"}}
    assert set(model["volumes"]) == {"nats", "postgres"}
