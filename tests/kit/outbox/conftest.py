"""Fixtures of the outbox's tests: a broker for the test's stream, and relays."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from kit.messaging.broker import Broker
from kit.outbox.relay import Relay
from mkstore.stack.servers import NatsServer
from tests.support.outbox_events import OutboxSource
from tests.support.provisioning import ProvisionedBroker

StartRelay = Callable[..., Awaitable[Relay]]
"""Takes a broker and optional arguments of `Relay`."""

NEVER = 3600.0
"""Seconds, longer than any test."""


@pytest.fixture
async def start_relay(source: OutboxSource) -> AsyncIterator[StartRelay]:
    async with AsyncExitStack() as stack:

        async def start(broker: Broker, **options: float) -> Relay:
            relay = Relay(source.address, broker, "tests", source.stream, **options)
            await relay.start()
            stack.push_async_callback(relay.stop)
            return relay

        yield start


@pytest.fixture
async def broker(nats_server: NatsServer, source: OutboxSource) -> AsyncIterator[Broker]:
    broker = ProvisionedBroker(nats_server.url, streams=[source.stream])
    await broker.start()
    yield broker
    await broker.stop()
