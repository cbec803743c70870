"""The past as JetStream keeps it: read whole and in order, and nothing is left of the reading."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from apps.gateway.sse.history import Position, StreamedHistory
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def own_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("history")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def broker(own_nats: NatsServer) -> AsyncIterator[Broker]:
    """Connect to empty streams."""
    broker = Broker(own_nats.url, name="a test", streams=[USER_EVENTS, PAYMENT_EVENTS])
    await broker.start()
    for stream in (USER_EVENTS, PAYMENT_EVENTS):
        await broker.jetstream.delete_stream(stream.name)
    await broker._provision()
    yield broker
    await broker.stop()


async def happen(broker: Broker, count: int) -> None:
    body = secrets.token_bytes(8)
    await asyncio.gather(*(broker.jetstream.publish("payment.created", b"%d" % n + body) for n in range(count)))


async def read(broker: Broker, after: int, to: int) -> list[int]:
    events = [event async for event in StreamedHistory(broker).between(PAYMENT_EVENTS, after, to)]
    assert all((event.stream, event.subject) == (PAYMENT_EVENTS.name, "payment.created") for event in events)
    assert all(event.body for event in events)
    return [event.sequence for event in events]


async def test_the_position_is_that_of_the_last_events(broker: Broker) -> None:
    assert await StreamedHistory(broker).position() == Position(0, 0)
    await happen(broker, 3)
    assert await StreamedHistory(broker).position() == Position(0, 3)


async def test_what_lies_between_is_read_in_order_however_much_it_is(broker: Broker) -> None:
    await happen(broker, 600)
    for after, to in ((0, 600), (0, 256), (5, 5), (7, 3), (599, 600), (100, 401), (0, 1)):
        assert await read(broker, after, to) == list(range(after + 1, to + 1))


async def test_what_has_gone_is_passed_over(broker: Broker) -> None:
    await happen(broker, 20)
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
    """Stands in for a connection whose first answers come from a replica that is behind the others."""

    def __init__(self, shown: list[list[int]]) -> None:
        self._shown = iter(shown)
        self._answers: list[dict[str, str]] = []
        self.client = self.jetstream = self
        self.asked: list[int] = []

    def is_connected(self) -> bool:
        return True

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, inbox: str) -> "Lagging":
        return self

    async def unsubscribe(self) -> None:
        self._answers = []

    async def publish(self, subject: str, body: bytes, reply: str) -> None:
        self.asked.append(json.loads(body)["seq"])
        shown = [{"Nats-Sequence": str(n), "Nats-Subject": "payment.created"} for n in next(self._shown)]
        self._answers = [*shown, {"Status": "204" if shown else "404"}]

    async def next_msg(self, timeout: float) -> SimpleNamespace:  # noqa: ASYNC109 - as nats-py has it
        return SimpleNamespace(headers=self._answers.pop(0), data=b"{}")

    async def get_msg(self, stream: str, sequence: int) -> None:
        """Find the message at the leader."""


async def test_a_replica_that_is_behind_is_asked_again() -> None:
    lagging: Any = Lagging([[], [1, 2], [], [3, 4]])
    assert await read(lagging, 0, 4) == [1, 2, 3, 4]
    assert lagging.asked == [1, 1, 3, 3]


async def test_nothing_is_left_of_the_reading(broker: Broker) -> None:
    await happen(broker, 300)
    subscriptions = len(broker.client._subs)
    reading = StreamedHistory(broker).between(PAYMENT_EVENTS, 0, 300)
    await anext(reading)
    await reading.aclose()
    assert len(broker.client._subs) == subscriptions
    assert (await broker.jetstream.stream_info(PAYMENT_EVENTS.name)).state.consumer_count == 0


async def test_while_nats_is_away_the_past_cannot_be_read(broker: Broker, own_nats: NatsServer) -> None:
    await happen(broker, 1)
    await asyncio.to_thread(own_nats.stop)
    try:
        await eventually(lambda: not broker.is_connected())
        with pytest.raises(Unavailable):
            await read(broker, 0, 1)
    finally:
        await asyncio.to_thread(own_nats.start)
    await eventually(broker.is_connected)
    assert await read(broker, 0, 1) == [1]
