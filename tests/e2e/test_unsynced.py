"""In production no service starts on a NATS that loses in a power failure what it acknowledged."""

from pathlib import Path

import pytest

from tests.conftest import NewDatabase
from tests.support.service_processes import run_service
from tests.support.unsynced_nats import UnsyncedNats


@pytest.mark.parametrize("service", ["gateway", "payments", "users"])
async def test_it_refuses_with_a_sentence_that_names_the_repair(
    tmp_path: Path, service: str, new_database: NewDatabase
) -> None:
    own = {} if service == "gateway" else new_database(service)
    with UnsyncedNats(tmp_path / "nats") as nats:
        servers = {**own, "NATS_URL": nats.url, "NATS_MONITOR_URL": nats.monitor_url, "JWT_SECRET": "s" * 32}
        async with run_service(service, tmp_path, {**servers, "APP_ENV": "production"}) as process:
            assert await process.wait_exit() not in {0, None}
            assert "set `sync_interval: always` in its jetstream block" in process.text
            assert "Traceback" not in process.text


async def test_elsewhere_it_starts_and_warns(tmp_path: Path) -> None:
    with UnsyncedNats(tmp_path / "nats") as nats:
        servers = {"NATS_URL": nats.url, "NATS_MONITOR_URL": nats.monitor_url}
        async with run_service("gateway", tmp_path, servers) as gateway:
            await gateway.wait_ready()
            await gateway.wait_for_log("NATS acknowledges messages before they are synced to disk")
            found = (await gateway.health())["checks"]["nats-sync"]
            assert found["status"] == "warning"
            assert "`sync_interval: always`" in found["reason"]


async def test_in_production_one_that_comes_up_later_ends_the_process(tmp_path: Path) -> None:
    nats = UnsyncedNats(tmp_path / "nats")
    servers = {"NATS_URL": nats.url, "NATS_MONITOR_URL": nats.monitor_url, "APP_ENV": "production"}
    async with run_service("gateway", tmp_path, servers) as gateway:
        await gateway.wait_for_log("running on")
        with nats:
            assert await gateway.wait_exit() != 0
            assert "set `sync_interval: always` in its jetstream block" in gateway.text
