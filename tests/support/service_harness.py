"""A service under test, in memory or on real servers: requests to it, and the events that it published."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from nats.js.api import ConsumerConfig, DeliverPolicy

from contracts.base import Event, Reply, Request
from contracts.errors import Problem
from contracts.headers import source_of
from contracts.streams import Stream
from kit.database import Transaction, create_pool
from kit.errors import RemoteProblem
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.outbox.table import emit
from kit.runtime.app import ServiceApp
from kit.runtime.settings import DatabaseSettings
from kit.runtime.tracing import Trace
from mkstore.testing import MemoryStore
from tests.architecture.messages import EVENTS
from tests.support.polling import eventually
from tests.support.service_processes import broker_of, connect

_EVENTS = {event.subject: event for event in EVENTS}


class PublishedEvent(NamedTuple):
    """An event with its headers; in memory some headers are missing."""

    event: Event
    headers: Mapping[str, str]


class Service:
    """A running service. Subclasses add what a test of that service needs."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def request(self, request: Request[Reply]) -> Reply:
        return await RequestClient(self.broker).request(request, timeout=15)

    async def request_refused(self, request: Request[Any]) -> Problem:
        """Send a request that must be refused, and return the problem."""
        with pytest.raises(RemoteProblem) as refused:
            await self.request(request)
        return refused.value.problem()

    async def all_events(self) -> list[PublishedEvent]:
        """Return all events that the service has published, in order."""
        raise NotImplementedError

    async def published_events(self, aggregate_id: UUID, count: int = 0) -> list[PublishedEvent]:
        """Return the events of one user or payment, in order, once there are at least `count`."""
        events: list[PublishedEvent] = []

        async def are_published() -> bool:
            events[:] = [each for each in await self.all_events() if each.event.aggregate_id == aggregate_id]
            return len(events) >= count

        await eventually(are_published)
        return events


class _Emission(Transaction):
    async def emit(self, event: Event) -> None:
        await emit(self._connection, [(event, Trace())])


async def emit_event(settings: DatabaseSettings, event: Event) -> None:
    """Write an event to the outbox of the service with these settings, in a transaction."""
    pool = create_pool(settings)
    try:
        async with _Emission(pool) as emission:
            await emission.emit(event)
    finally:
        await pool.close()


@asynccontextmanager
async def running(app: ServiceApp, nats_url: str) -> AsyncIterator[Broker]:
    """Run a service on real servers until the block ends; yield the connection of a client."""
    async with app.lifespan_context(), connect(nats_url) as broker:
        await app.start()
        await broker_of(app).check()  # a round trip: until then the subscriptions may not have reached the server
        try:
            yield broker
        finally:
            await app.stop()


def events_in_memory(store: MemoryStore, stream: Stream) -> list[PublishedEvent]:
    """Return the events in a stream of a store in memory, in order."""
    return [
        PublishedEvent(_EVENTS[stored.subject].model_validate_json(stored.body), stored.headers)
        for stored in store.streams.messages(stream)
    ]


async def stored_events(broker: Broker, stream: Stream, service: str) -> list[PublishedEvent]:
    """Return the events of a service in its stream, in order; other tests may publish there, too."""
    count = (await broker.jetstream.stream_info(stream.name)).state.messages
    reader = await broker.jetstream.subscribe(
        ">",
        stream=stream.name,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    events = []
    for _ in range(count):
        message = await reader.next_msg(timeout=5)
        headers = dict(message.headers or {})
        if headers.get("ce-source") == source_of(service):
            events.append(PublishedEvent(_EVENTS[message.subject].model_validate_json(message.data), headers))
    await reader.unsubscribe()
    return events
