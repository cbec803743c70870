"""The queue of payments with a key on a real nats-server: what is stored, and how it is found."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from apps.gateway.payments.queue import JetStreamPaymentQueue
from contracts.streams import KEYED_PAYMENT_COMMANDS
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from mkstore.stack.servers import NatsServer
from tests.support.acceptance_harness import command
from tests.support.provisioning import provision
from tests.support.service_processes import connect
from tests.support.subject_tap import SubjectTap

CONCURRENT = 200
TIMEOUT = 60.0


@pytest.fixture
async def broker(nats_server: NatsServer) -> AsyncIterator[Broker]:
    async with connect(nats_server.url) as broker:
        yield broker


async def test_payments_with_new_and_known_keys_are_told_apart(broker: Broker) -> None:
    queue = JetStreamPaymentQueue(broker, TIMEOUT)
    keys = [UUID(int=number).hex for number in range(20)]
    first = await asyncio.gather(*(queue.publish_keyed(command(key=f"a {key}")) for key in keys))
    mixed = await asyncio.gather(
        *(queue.publish_keyed(command(key=f"{prefix} {key}")) for key in keys for prefix in ("a", "b"))
    )
    assert first == [True] * 20
    assert mixed == [False, True] * 20


async def test_concurrent_lookups_are_one_request(broker: Broker) -> None:
    queue = JetStreamPaymentQueue(broker, TIMEOUT)
    stored, other, unknown = (command(key=f"lookup {name}") for name in "abc")
    assert await queue.publish_keyed(stored)
    assert await queue.publish_keyed(other)
    requests = await SubjectTap().start(broker.client, f"$JS.API.DIRECT.GET.{KEYED_PAYMENT_COMMANDS.name}")
    results = await asyncio.gather(
        *(queue.find_keyed(each.id) for _ in range(CONCURRENT) for each in (stored, other, unknown))
    )
    assert results == [stored, other, None] * CONCURRENT
    assert 1 <= len(await requests.read()) <= 4


async def test_missing_stream_is_unavailable(broker: Broker, nats_server: NatsServer) -> None:
    queue = JetStreamPaymentQueue(broker, TIMEOUT)
    await broker.jetstream.delete_stream(KEYED_PAYMENT_COMMANDS.name)
    with pytest.raises(Unavailable):
        await queue.find_keyed(UUID(int=1))
    provision(nats_server.url)
