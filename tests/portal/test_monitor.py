"""Snapshots of a real nats-server, with and without message bodies."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS
from kit.errors import Unavailable
from mkstore.stack.servers import NatsServer
from portal.live import SystemMonitor, redacted
from tests.support.provisioning import provision

BODY = {"payment": {"id": "1", "amount": 1999, "tags": ["a", "b"], "paid": True, "reason": None}}
SHOWN = {"payment": {"id": "string", "amount": "number", "tags": ["string"], "paid": "boolean", "reason": None}}


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """An operator's connection to a server with empty streams."""
    client = Client()
    await client.connect(nats_server.admin_url)
    jetstream = client.jetstream()
    for stream in (PAYMENT_COMMANDS, PAYMENT_EVENTS):
        await jetstream.delete_stream(stream.name)
    provision(nats_server.url)
    yield client
    await client.close()


async def test_a_snapshot_shows_streams_consumers_and_last_messages(client: Client, nats_server: NatsServer) -> None:
    jetstream = client.jetstream()
    config = ConsumerConfig(durable_name="monitored", filter_subject="payment.monitored")
    await jetstream.add_consumer(PAYMENT_EVENTS.name, config)
    for _ in range(7):
        await jetstream.publish("payment.monitored", json.dumps(BODY).encode())
    await jetstream.publish("payment.monitored", b"not JSON")
    monitor = SystemMonitor(nats_server.admin_url, [PAYMENT_EVENTS, DEAD_LETTERS], bodies=False)
    try:
        snapshot = await monitor.snapshot()
        events, dead = snapshot.streams
        (monitored,) = [consumer for consumer in events.consumers if consumer.name == "monitored"]
        assert (events.messages, monitored.pending, monitored.unacknowledged) == (8, 8, 0)
        assert [message.body for message in events.last] == [SHOWN] * 4 + [None]
        assert {message.subject for message in events.last} == {"payment.monitored"}
        assert [message.sequence for message in events.last][-1] == events.last_sequence
        assert dead.name == DEAD_LETTERS.name
        assert await monitor.snapshot() is snapshot  # shared within its maximum age
    finally:
        await jetstream.delete_consumer(PAYMENT_EVENTS.name, "monitored")
        await monitor.close()


async def test_bodies_are_shown_if_enabled(client: Client, nats_server: NatsServer) -> None:
    await client.jetstream().publish("payment.monitored", json.dumps(BODY).encode())
    monitor = SystemMonitor(nats_server.admin_url, [PAYMENT_EVENTS], bodies=True, max_age=0)
    try:
        first, second = await monitor.snapshot(), await monitor.snapshot()
        assert [message.body for message in first.streams[0].last] == [BODY]
        assert second is not first
    finally:
        await monitor.close()


async def test_a_snapshot_sums_the_statistics_of_each_process(client: Client, nats_server: NatsServer) -> None:
    endpoints = [
        {"num_requests": 3, "num_errors": 1, "processing_time": 6_000_000},
        {"num_requests": 1, "num_errors": 0, "processing_time": 2_000_000},
    ]

    async def answer(message: object) -> None:
        stats = {"name": "users", "id": "1", "endpoints": endpoints}
        await message.respond(json.dumps(stats).encode())  # type: ignore[attr-defined]

    subscription = await client.subscribe("$SRV.STATS", cb=answer)
    await client.flush()
    monitor = SystemMonitor(nats_server.admin_url, [], bodies=False)
    try:
        (process,) = [one for one in (await monitor.snapshot()).processes if one.service == "users"]
        assert (process.requests, process.errors, process.milliseconds) == (4, 1, 2.0)
    finally:
        await monitor.close()
        await subscription.unsubscribe()


async def test_a_snapshot_without_nats_raises_unavailable() -> None:
    monitor = SystemMonitor("nats://127.0.0.1:1", [PAYMENT_EVENTS], bodies=False)
    with pytest.raises(Unavailable):
        await monitor.snapshot()
    await asyncio.gather(*(monitor.close() for _ in range(2)))


@pytest.mark.parametrize(("body", "shown"), [({}, {}), ([1, 2], ["number"]), ("secret", "string"), (1.5, "number")])
def test_a_redacted_body_contains_only_names_and_types(body: object, shown: object) -> None:
    assert redacted(body) == shown
