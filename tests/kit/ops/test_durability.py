"""Durability checks of NATS and of the clocks; each failure names its repair."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kit import database
from kit.errors import HealthWarning
from kit.messaging.broker import Broker
from kit.ops.durability import Durability, NotDurable
from mkstore.stack import ports
from mkstore.stack.servers import NatsServer
from tests.support.outbox_events import OutboxSource
from tests.support.unsynced_nats import UnsyncedNats


@pytest.fixture(scope="module")
def unsynced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnsyncedNats]:
    folder: Path = tmp_path_factory.mktemp("unsynced")
    with UnsyncedNats(folder) as server:
        yield server


async def test_durable_servers_pass_every_check(broker: Broker, nats_server: NatsServer, source: OutboxSource) -> None:
    durability = Durability(
        broker,
        nats_server.monitor_url,
        replicas=1,
        production=True,
        database_time=partial(database.server_time, source.pool),
    )
    checks = durability.checks()
    assert set(checks) == {"nats-sync", "nats-clock", "database-clock"}
    notes = [await check() for check in checks.values()]
    assert notes == ["NATS syncs each message to disk before it acknowledges it; replicas: 1.", None, None]
    await durability.before_start()
    with capture_logs() as logs:
        await durability.log_findings()
    assert logs == []


async def test_unsynced_nats_warns_and_stops_production(unsynced: UnsyncedNats) -> None:
    disconnected = Broker(unsynced.url, name="tests")
    development = Durability(disconnected, unsynced.monitor_url, replicas=1, production=False)
    with pytest.raises(HealthWarning, match="set `sync_interval: always` in its jetstream block"):
        await development.check_sync()
    await development.before_start()
    production = Durability(disconnected, unsynced.monitor_url, replicas=1, production=True)
    with pytest.raises(NotDurable, match="set `sync_interval: always` in its jetstream block"):
        await production.check_sync()
    with pytest.raises(NotDurable):
        await production.before_start()
    replicated = Durability(disconnected, unsynced.monitor_url, replicas=3, production=True)
    assert (
        await replicated.check_sync() == "NATS has each message on a majority of 3 servers before it acknowledges it."
    )


async def test_unknown_sync_is_a_warning_even_in_production(
    broker: Broker, unsynced: UnsyncedNats, nats_server: NatsServer
) -> None:
    for url, message in (
        ("", "unknown whether NATS syncs .* set NATS_MONITOR_URL to its monitoring endpoint"),
        (
            f"http://127.0.0.1:{ports.free_port()}",
            "endpoint of NATS does not reply at .*: set NATS_MONITOR_URL",
        ),
        (nats_server.address, "the URL must have the form http://host:port"),
        (nats_server.monitor_url + "/elsewhere", "monitoring endpoint of NATS does not reply at .*Not Found"),
        (unsynced.monitor_url, "is not the one at NATS_URL: set NATS_MONITOR_URL"),
    ):
        durability = Durability(broker, url, replicas=1, production=True)
        with pytest.raises(HealthWarning, match=message):
            await durability.check_sync()
        with capture_logs() as logs:
            await durability.log_findings()
        assert "nats-sync" in {entry["check"] for entry in logs if entry["log_level"] == "warning"}


@pytest.mark.parametrize(("seconds", "skew"), [(5, "behind"), (-5, "ahead of")])
async def test_clock_skew_is_reported(
    broker: Broker, nats_server: NatsServer, source: OutboxSource, seconds: float, skew: str
) -> None:
    durability = Durability(
        broker,
        nats_server.monitor_url,
        replicas=1,
        production=False,
        database_time=partial(database.server_time, source.pool),
        local_time=lambda: time.time() + seconds,
    )
    with pytest.raises(HealthWarning, match=f"The clock of NATS is [4-6]\\.\\d s {skew} this machine's .*NTP"):
        await durability.check_nats_clock()
    with pytest.raises(HealthWarning, match=f"The clock of PostgreSQL is [4-6]\\.\\d s {skew} this machine's .*NTP"):
        await durability.check_database_clock()
