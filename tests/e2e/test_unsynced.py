"""In production no service starts on a NATS server that can lose acknowledged messages in a power failure."""

import secrets
from pathlib import Path

import pytest

from tests.conftest import NewDatabase
from tests.support.provisioning import provision
from tests.support.service_processes import run_service
from tests.support.unsynced_nats import UnsyncedNats


@pytest.mark.parametrize("service", ["gateway", "payments", "users"])
async def test_production_refuses_to_start_and_names_the_fix(
    tmp_path: Path, service: str, new_database: NewDatabase
) -> None:
    database = {} if service == "gateway" else new_database(service)
    with UnsyncedNats(tmp_path / "nats") as nats:
        servers = {
            **database,
            "NATS_URL": nats.url,
            "NATS_MONITOR_URL": nats.monitor_url,
            "JWT_SECRET": secrets.token_hex(32),
        }
        async with run_service(service, tmp_path, {**servers, "APP_ENV": "production"}) as process:
            assert await process.wait_exit() not in {0, None}
            assert "set `sync_interval: always` in its jetstream block" in process.text
            assert "Traceback" not in process.text


async def test_development_starts_and_warns(tmp_path: Path) -> None:
    with UnsyncedNats(tmp_path / "nats") as nats:
        servers = {"NATS_URL": nats.url, "NATS_MONITOR_URL": nats.monitor_url}
        provision(nats.url)
        async with run_service("gateway", tmp_path, servers) as gateway:
            await gateway.wait_ready()
            await gateway.wait_for_log("NATS acknowledges messages before they are synced to disk")
            check = (await gateway.health())["checks"]["nats-sync"]
            assert check["status"] == "warning"
            assert "`sync_interval: always`" in check["reason"]


async def test_production_stops_when_an_unsynced_server_appears_later(tmp_path: Path) -> None:
    nats = UnsyncedNats(tmp_path / "nats")
    servers = {"NATS_URL": nats.url, "NATS_MONITOR_URL": nats.monitor_url, "APP_ENV": "production"}
    async with run_service("gateway", tmp_path, servers) as gateway:
        await gateway.wait_for_log("running on")
        with nats:
            assert await gateway.wait_exit() != 0
            assert "set `sync_interval: always` in its jetstream block" in gateway.text
