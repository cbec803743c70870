"""The traffic of a long run, and what it reads of the processes of a store."""

from dataclasses import replace
from random import Random

from mkstore.bench.contenders.stores import store_target
from mkstore.chaos.store import PROCESSES
from mkstore.soak.readings import live_heap, read
from mkstore.soak.traffic import Traffic
from tests.support.running_store import Running


async def test_traffic_is_mixed_and_has_no_failures(unlimited_store: Running) -> None:
    traffic = Traffic(await store_target("mkstore", unlimited_store, users=20), Random(2))
    await traffic.run(rate=50, seconds=6)
    assert traffic.faults == []
    assert set(traffic.outcomes) == {
        "list payments",
        "pay",
        "read a payment",
        "read a user",
        "read over a new connection",
        "sign in",
    }
    assert 280 < traffic.requests <= 300  # all but reads of a payment before there is one
    assert traffic.streams >= 3
    reading = read(unlimited_store.record, PROCESSES, 0.0)
    assert all(size > 1_000_000 for size in reading.memory.values())
    assert reading.memory.keys() == reading.files.keys() >= {"nats", "postgres"}
    assert 1_000_000 < live_heap(unlimited_store.record["nats"]["monitor_url"]).size < reading.memory["nats"]


async def test_refused_requests_are_named(unlimited_store: Running) -> None:
    target = await store_target("mkstore", unlimited_store, users=1)
    target.users = [replace(account, token="invalid") for account in target.users]
    traffic = Traffic(target, Random(3))
    await traffic.run(rate=20, seconds=1)
    assert traffic.failed >= 15
    assert any("401" in fault for fault in traffic.faults)
