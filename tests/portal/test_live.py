"""The live overlay's look: what is there is seen, and of bodies no more than is wanted."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS
from kit.errors import Unavailable
from kit.messaging import streams
from mkstore.stack.servers import NatsServer
from portal.live import SystemMonitor, redacted

BODY = {"payment": {"id": "1", "amount": 1999, "tags": ["a", "b"], "paid": True, "reason": None}}
SHOWN = {"payment": {"id": "string", "amount": "number", "tags": ["string"], "paid": "boolean", "reason": None}}


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection to a server whose streams hold what this test put there, from the operator's side."""
    client = Client()
    await client.connect(nats_server.admin_url)
    await streams.provision(client.jetstream(), [PAYMENT_COMMANDS, PAYMENT_EVENTS])
    for stream in (PAYMENT_COMMANDS, PAYMENT_EVENTS):
        await client.jetstream().purge_stream(stream.name)
    yield client
    await client.close()


async def test_what_is_there_is_seen(client: Client, nats_server: NatsServer) -> None:
    jetstream = client.jetstream()
    config = ConsumerConfig(durable_name="watched", filter_subject="payment.watched")
    await jetstream.add_consumer(PAYMENT_EVENTS.name, config)
    for _ in range(7):
        await jetstream.publish("payment.watched", json.dumps(BODY).encode())
    await jetstream.publish("payment.watched", b"no json")
    watch = SystemMonitor(nats_server.admin_url, [PAYMENT_EVENTS, DEAD_LETTERS], bodies=False)
    try:
        seen = await watch.look()
        events, dead = seen.streams
        (watched,) = [consumer for consumer in events.consumers if consumer.name == "watched"]
        assert (events.messages, watched.waiting, watched.unacknowledged) == (8, 8, 0)
        assert [message.body for message in events.last] == [SHOWN] * 4 + [None]
        assert {message.subject for message in events.last} == {"payment.watched"}
        assert [message.sequence for message in events.last][-1] == events.last_sequence
        assert dead.name == DEAD_LETTERS.name
        assert await watch.look() is seen  # whoever looks at once sees the same
    finally:
        await jetstream.delete_consumer(PAYMENT_EVENTS.name, "watched")
        await watch.close()


async def test_who_wants_bodies_gets_them(client: Client, nats_server: NatsServer) -> None:
    await client.jetstream().publish("payment.watched", json.dumps(BODY).encode())
    watch = SystemMonitor(nats_server.admin_url, [PAYMENT_EVENTS], bodies=True, fresh=0)
    try:
        first, second = await watch.look(), await watch.look()
        assert [message.body for message in first.streams[0].last] == [BODY]
        assert second is not first
    finally:
        await watch.close()


async def test_processes_are_seen_by_what_they_say_of_themselves(client: Client, nats_server: NatsServer) -> None:
    endpoints = [
        {"num_requests": 3, "num_errors": 1, "processing_time": 6_000_000},
        {"num_requests": 1, "num_errors": 0, "processing_time": 2_000_000},
    ]

    async def answer(message: object) -> None:
        stats = {"name": "users", "id": "1", "endpoints": endpoints}
        await message.respond(json.dumps(stats).encode())  # type: ignore[attr-defined]

    subscription = await client.subscribe("$SRV.STATS", cb=answer)
    await client.flush()
    watch = SystemMonitor(nats_server.admin_url, [], bodies=False)
    try:
        (process,) = [one for one in (await watch.look()).processes if one.service == "users"]
        assert (process.requests, process.errors, process.milliseconds) == (4, 1, 2.0)
    finally:
        await watch.close()
        await subscription.unsubscribe()


async def test_while_nats_is_away_nothing_is_seen_and_it_is_said() -> None:
    watch = SystemMonitor("nats://127.0.0.1:1", [PAYMENT_EVENTS], bodies=False)
    with pytest.raises(Unavailable):
        await watch.look()
    await asyncio.gather(*(watch.close() for _ in range(2)))


@pytest.mark.parametrize(("body", "shown"), [({}, {}), ([1, 2], ["number"]), ("secret", "string"), (1.5, "number")])
def test_a_redacted_body_tells_names_and_types_alone(body: object, shown: object) -> None:
    assert redacted(body) == shown
