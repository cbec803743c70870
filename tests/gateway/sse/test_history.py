"""The event history in JetStream: read completely and in order, without leftovers on the server."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import nats
import pytest
import pytest_asyncio
from nats.js.errors import NotFoundError

from apps.gateway.sse.history import Position, StreamedHistory
from contracts.logins import JETSTREAM_API
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker

pytestmark = pytest.mark.asyncio(loop_scope="module")


_DELETABLE = PAYMENT_EVENTS.model_copy(update={"append_only": False})
"""As if events had expired, which a test cannot wait for."""


@pytest.fixture(scope="module")
def own_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("history")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def broker(own_nats: NatsServer) -> AsyncIterator[Broker]:
    """Return a broker with empty streams."""
    async with await nats.connect(own_nats.url) as connection:
        for stream in (USER_EVENTS, PAYMENT_EVENTS):
            with suppress(NotFoundError):
                await connection.jetstream().delete_stream(stream.name)
    broker = ProvisionedBroker(own_nats.url, name="a test", streams=[USER_EVENTS, _DELETABLE])
    await broker.start()
    yield broker
    await broker.stop()


async def publish_events(broker: Broker, count: int) -> None:
    body = secrets.token_bytes(8)
    await asyncio.gather(*(broker.jetstream.publish("payment.created", b"%d" % n + body) for n in range(count)))


async def read(broker: Broker, after: int, to: int) -> list[int]:
    events = [event async for event in StreamedHistory(broker).between(PAYMENT_EVENTS, after, to)]
    assert all((event.stream, event.subject) == (PAYMENT_EVENTS.name, "payment.created") for event in events)
    assert all(event.body for event in events)
    return [event.sequence for event in events]


async def test_position_is_the_last_sequence_of_each_stream(broker: Broker) -> None:
    assert await StreamedHistory(broker).position() == Position(0, 0)
    await publish_events(broker, 3)
    assert await StreamedHistory(broker).position() == Position(0, 3)


async def test_events_between_two_positions_are_read_in_order(broker: Broker) -> None:
    await publish_events(broker, 600)
    for after, to in ((0, 600), (0, 256), (5, 5), (7, 3), (599, 600), (100, 401), (0, 1)):
        assert await read(broker, after, to) == list(range(after + 1, to + 1))


async def test_deleted_events_are_skipped(broker: Broker) -> None:
    await publish_events(broker, 20)
    await broker.jetstream.purge_stream(PAYMENT_EVENTS.name, seq=6)
    await broker.jetstream.delete_msg(PAYMENT_EVENTS.name, 10)
    await broker.jetstream.delete_msg(PAYMENT_EVENTS.name, 20)
    assert await read(broker, 0, 20) == [*range(6, 10), *range(11, 20)]
    assert await read(broker, 19, 20) == []
    assert await read(broker, 9, 10) == []
    assert await read(broker, 2, 5) == []
    await broker.jetstream.purge_stream(PAYMENT_EVENTS.name)
    assert await read(broker, 0, 20) == []


class Lagging:
    """A fake connection whose first responses come from a lagging replica; counts its open subscriptions."""

    def __init__(self, batches: list[list[int]]) -> None:
        self._batches = iter(batches)
        self._responses: list[dict[str, str]] = []
        self.jetstream = self._nc = self
        self._prefix = JETSTREAM_API
        self.requested: list[int] = []
        self.subscriptions = 0

    def is_connected(self) -> bool:
        return True

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, inbox: str) -> "Lagging":
        self.subscriptions += 1
        return self

    async def unsubscribe(self) -> None:
        self._responses = []
        self.subscriptions -= 1

    async def publish(self, subject: str, body: bytes, reply: str) -> None:
        self.requested.append(json.loads(body)["seq"])
        batch = [{"Nats-Sequence": str(n), "Nats-Subject": "payment.created"} for n in next(self._batches)]
        self._responses = [*batch, {"Status": "204" if batch else "404"}]

    async def next_msg(self, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(headers=self._responses.pop(0), data=b"{}")

    async def get_msg(self, stream: str, sequence: int) -> None:
        """Find the message at the leader."""


async def test_lagging_replica_is_read_again() -> None:
    lagging: Any = Lagging([[], [1, 2], [], [3, 4]])
    assert await read(lagging, 0, 4) == [1, 2, 3, 4]
    assert lagging.requested == [1, 1, 3, 3]


async def test_abandoned_reading_removes_its_subscription() -> None:
    lagging: Any = Lagging([[1, 2], [3, 4]])
    reading = StreamedHistory(lagging).between(PAYMENT_EVENTS, 0, 4)
    await anext(reading)
    assert lagging.subscriptions == 1
    await reading.aclose()
    assert lagging.subscriptions == 0


async def test_reading_creates_no_consumer(broker: Broker) -> None:
    await publish_events(broker, 300)
    reading = StreamedHistory(broker).between(PAYMENT_EVENTS, 0, 300)
    await anext(reading)
    assert (await broker.jetstream.stream_info(PAYMENT_EVENTS.name)).state.consumer_count == 0
    await reading.aclose()
    assert (await broker.jetstream.stream_info(PAYMENT_EVENTS.name)).state.consumer_count == 0


async def test_history_is_unavailable_without_nats(broker: Broker, own_nats: NatsServer) -> None:
    await publish_events(broker, 1)
    await asyncio.to_thread(own_nats.stop)
    try:
        await eventually(lambda: not broker.is_connected())
        with pytest.raises(Unavailable):
            await read(broker, 0, 1)
    finally:
        await asyncio.to_thread(own_nats.start)
    await eventually(broker.is_connected)
    assert await read(broker, 0, 1) == [1]
