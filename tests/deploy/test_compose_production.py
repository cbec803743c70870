"""docker-compose.prod.yml, resolved by Compose itself, with the files that `mkstore secrets` makes."""

import importlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.logins import WATCHER
from kit.runtime.settings import ProvisioningSettings, Settings, load
from mkstore.services import SECRET_VARIABLES, SERVICES
from mkstore.stack.servers import PostgresServer
from mkstore.stack.servers.nats import nats_server_program
from tests.conftest import ROOT
from tests.deploy.conftest import run_database_script
from tests.support.certificates import new_certificates
from tests.support.compose import PRODUCTION, config, environment_of

MOUNTED = "/run/secrets/mkstore"
NAMES = [spec.name for spec in SERVICES]
WITH_DATABASE = [spec.name for spec in SERVICES if spec.database]
RUN_ONCE = ["provision", *(f"{name}-migrations" for name in WITH_DATABASE)]
SERVERS = ["nats", "postgres"]
OPTIONAL = {"RATE_LIMIT_STORAGE", "TRACES_URL"}
"""Addresses that have no password by default."""


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    return config(PRODUCTION)


def part_of(service: str) -> str:
    return service.removesuffix("-migrations")


def secret_mount(model: dict[str, Any], service: str) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = model["services"][service]["volumes"]
    (mount,) = (each for each in mounts if each["target"] == MOUNTED)
    return mount


def settings_of(service: str) -> type[Settings]:
    if service == "provision":
        return ProvisioningSettings
    settings: type[Settings] = importlib.import_module(f"apps.{part_of(service)}.settings").Settings
    return settings


def test_production_has_the_services_of_development(model: dict[str, Any], composed: dict[str, Any]) -> None:
    assert set(model["services"]) == set(composed["services"])
    for name, service in model["services"].items():
        for key in ("image", "command", "depends_on", "build"):
            assert service.get(key) == composed["services"][name].get(key)


def test_production_has_no_development_values(model: dict[str, Any]) -> None:
    assert "for-development-only" not in str(model)
    assert {environment_of(model, name)["APP_ENV"] for name in (*NAMES, *RUN_ONCE)} == {"production"}


def test_required_secrets_of_the_environment_are_ignored() -> None:
    passwords = ["POSTGRES_PASSWORD", *(f"{name.upper()}_DB_PASSWORD" for name in WITH_DATABASE)]
    logins = [f"NATS_{login.upper()}_PASSWORD" for login in (*NAMES, WATCHER, "operator")]
    required = [name for name in SECRET_VARIABLES if name not in OPTIONAL]
    model = config(PRODUCTION, dict.fromkeys([*required, *passwords, *logins], "a-secret-of-the-shell"))
    assert "a-secret-of-the-shell" not in str(model)


def test_only_the_gateway_publishes_a_port_and_on_the_loopback(model: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in model["services"].items() if service.get("ports")}
    assert {name: [port["host_ip"] for port in published] for name, published in ports.items()} == {
        "gateway": ["127.0.0.1"]
    }
    assert [port["target"] for port in ports["gateway"]] == [8000]
    assert {environment_of(model, name)["METRICS_PORT"] for name in NAMES} == {"9100"}


@pytest.mark.parametrize("service", [*NAMES, *RUN_ONCE, *SERVERS])
def test_container_reads_its_own_folder_of_secrets(model: dict[str, Any], secrets: Path, service: str) -> None:
    mount = secret_mount(model, service)
    assert mount["source"] == str(ROOT / "secrets" / part_of(service))
    assert mount["read_only"]
    assert not mount["bind"]["create_host_path"]  # a missing folder stops the start
    files = {file.name for file in (secrets / part_of(service)).iterdir()}
    environment = environment_of(model, service) if service != "nats" else {}
    named = {value for value in environment.values() if value.startswith(MOUNTED)}
    assert named == ({f"{MOUNTED}/{name}" for name in files} if environment else set())


@pytest.mark.parametrize("service", [*NAMES, *RUN_ONCE])
def test_settings_are_valid_with_the_secrets(
    model: dict[str, Any], secrets: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment_of(model, service).items():
        monkeypatch.setenv(name, value.replace(MOUNTED, str(secrets / part_of(service))))
    assert load(settings_of(service)).nats_url.endswith("@nats:4222")


def test_certificates_can_stand_beside_the_secrets(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the section "TLS with NATS" of deploy/README.md says."""
    shutil.copytree(secrets, tmp_path / "secrets")
    new_certificates(tmp_path / "certs")
    section = (ROOT / "deploy/README.md").read_text().partition("### TLS with NATS")[2].partition("\n## ")[0]
    recipe, block = (part.partition("\n")[2] for part in section.split("```")[1:4:2])
    commands = recipe.replace("uv run mkstore certs certs\n", "")
    subprocess.run(["bash", "-euc", commands], cwd=tmp_path, check=True)

    given = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines())
    model = config(PRODUCTION, given)
    for service in (*NAMES, *RUN_ONCE):
        with monkeypatch.context() as environment:
            for name, value in environment_of(model, service).items():
                environment.setenv(name, value.replace(MOUNTED, str(tmp_path / "secrets" / part_of(service))))
            settings = load(settings_of(service))
        assert all(Path(file).is_file() for file in (settings.nats_ca, settings.nats_cert, settings.nats_key))

    configuration = tmp_path / "nats.conf"
    configuration.write_text(block.replace(MOUNTED, str(tmp_path / "secrets/nats")))
    done = subprocess.run([nats_server_program(), "-t", "-c", str(configuration)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_nats_gets_its_passwords_from_the_files(model: dict[str, Any], secrets: Path) -> None:
    entrypoint = [part.replace("$$", "$") for part in model["services"]["nats"]["entrypoint"]]
    shell, options, script, name = entrypoint
    script = script.replace(MOUNTED, str(secrets / "nats"))
    path = f"{Path(nats_server_program()).parent}:{os.defpath}"
    done = subprocess.run(
        [shutil.which(shell) or shell, options, script, name, "-t", "-c", str(ROOT / "deploy/nats.conf")],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {file.name.startswith("NATS_") for file in (secrets / "nats").iterdir()} == {True}


async def test_postgres_gets_the_roles_passwords_from_the_files(
    model: dict[str, Any], secrets: Path, tmp_path: Path
) -> None:
    environment = environment_of(model, "postgres")
    files = {name: value.replace(MOUNTED, str(secrets / "postgres")) for name, value in environment.items()}
    with PostgresServer(tmp_path / "postgres") as server:
        run_database_script(server, files)
        for name in WITH_DATABASE:
            password = (secrets / name / "DB_PASSWORD").read_text("utf-8")
            connection = await asyncpg.connect(
                host="127.0.0.1", port=server.port, database=f"{name}_db", user=name, password=password, timeout=10
            )
            await connection.close()


@pytest.mark.parametrize("service", [*NAMES, *RUN_ONCE, *SERVERS])
def test_container_is_read_only_limited_and_restarted(model: dict[str, Any], service: str) -> None:
    container = model["services"][service]
    assert container["read_only"]
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["restart"] == ("on-failure:5" if service in RUN_ONCE else "unless-stopped")
    assert set(container["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert container["logging"] == {"driver": "local"}
    assert ("healthcheck" in container) == (service not in NAMES)  # a service has that of its image


def test_password_hashes_use_the_cores_of_the_limit(model: dict[str, Any]) -> None:
    limits = model["services"]["users"]["deploy"]["resources"]["limits"]
    assert environment_of(model, "users")["PASSWORD_THREADS"] == str(limits["cpus"])
