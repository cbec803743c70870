"""What the promises rest on is looked at, and what is wrong is said with its repair."""

import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from kit import database
from kit.errors import HealthWarning
from kit.messaging.broker import Broker
from kit.ops import durability
from kit.ops.durability import Durability, NotDurable
from mkstore.stack import ports
from mkstore.stack.servers import NatsServer
from tests.support.outbox_events import Told
from tests.support.unsynced_nats import UnsyncedNats


@pytest.fixture
async def unsynced(tmp_path: Path) -> AsyncIterator[UnsyncedNats]:
    with UnsyncedNats(tmp_path / "unsynced") as server:
        yield server


Look = Callable[..., Durability]


def looking_at(
    broker: Broker, monitor_url: str, *, replicas: int = 1, production: bool = False, told: Told | None = None
) -> Durability:
    clock = partial(database.now, told.pool) if told else None
    return Durability(broker, monitor_url, replicas=replicas, production=production, database_time=clock)


async def test_servers_as_they_must_be_pass(broker: Broker, nats_server: NatsServer, told: Told) -> None:
    found = looking_at(broker, nats_server.monitor_url, production=True, told=told)
    checks = found.checks()
    assert set(checks) == {"nats-sync", "nats-clock", "database-clock"}
    for check in checks.values():
        await check()
    await found.before_start()
    with capture_logs() as logs:
        await found.look()
    assert logs == []


async def test_a_server_that_does_not_sync_is_a_warning_and_in_production_no_server_at_all(
    unsynced: UnsyncedNats,
) -> None:
    nobody = Broker(unsynced.url, name="tests")
    looking = looking_at(nobody, unsynced.monitor_url)
    with pytest.raises(HealthWarning, match="set `sync_interval: always` in its jetstream block"):
        await looking.check_sync()
    await looking.before_start()
    looking = looking_at(nobody, unsynced.monitor_url, production=True)
    with pytest.raises(NotDurable, match="set `sync_interval: always` in its jetstream block"):
        await looking.check_sync()
    with pytest.raises(NotDurable):
        await looking.before_start()
    await looking_at(nobody, unsynced.monitor_url, production=True, replicas=3).check_sync()


async def test_that_nobody_can_tell_is_a_warning_in_production_too(
    broker: Broker, unsynced: UnsyncedNats, nats_server: NatsServer
) -> None:
    for address, sentence in (
        ("", "Nothing tells whether NATS syncs .* set NATS_MONITOR_URL to where its monitoring answers"),
        (f"http://127.0.0.1:{ports.free_port()}", "monitoring does not answer at .*: set NATS_MONITOR_URL to where"),
        (nats_server.address, "it is no address of the form http://host:port"),
        (nats_server.monitor_url + "/elsewhere", "monitoring does not answer at .*Not Found"),
        (unsynced.monitor_url, "another server than the one that NATS_URL names: set NATS_MONITOR_URL"),
    ):
        looking = looking_at(broker, address, production=True)
        with pytest.raises(HealthWarning, match=sentence):
            await looking.check_sync()
        with capture_logs() as logs:
            await looking.look()
        assert "nats-sync" in {entry["check"] for entry in logs if entry["log_level"] == "warning"}


@pytest.mark.parametrize(("seconds", "where"), [(5, "5.0 s behind"), (-5, "5.0 s ahead of")])
async def test_clocks_that_differ_are_said_with_the_difference(
    broker: Broker, nats_server: NatsServer, told: Told, monkeypatch: pytest.MonkeyPatch, seconds: float, where: str
) -> None:
    looking = looking_at(broker, nats_server.monitor_url, told=told)
    now = time.time
    monkeypatch.setattr(durability, "time", SimpleNamespace(time=lambda: now() + seconds))
    with pytest.raises(HealthWarning, match=f"NATS's clock is {where} this machine's .*NTP"):
        await looking.check_nats_clock()
    with pytest.raises(HealthWarning, match=f"PostgreSQL's clock is {where} this machine's .*NTP"):
        await looking.check_database_clock()
