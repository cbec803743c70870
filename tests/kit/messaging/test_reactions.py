"""Durable consumption of events: none is missed while a service is down, and replicas share the work."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import ClassVar, NamedTuple
from uuid import UUID, uuid4

import pytest
from nats.js.errors import NotFoundError

from contracts.base import Event
from contracts.consumers import Durable
from contracts.streams import DEAD_LETTERS, Stream
from kit.inbox import InboxKey
from kit.messaging.broker import Broker
from kit.messaging.consumers import DurableRouter
from kit.messaging.delivery.inbox_key import MessageInboxKey
from kit.messaging.retry import RETRY_POLICY, RetryPolicy
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import new_stream, subject_in


class Opened(Event):
    """An event of these tests."""

    subject: ClassVar[str]
    id: UUID
    version: int = 1


class Shop(NamedTuple):
    """Two types of events in one stream, and brokers that publish and consume them."""

    opened: type[Opened]
    closed: type[Opened]
    stream: Stream
    url: str
    stack: AsyncExitStack

    async def broker(self, *routers: DurableRouter) -> ProvisionedBroker:
        broker = ProvisionedBroker(self.url, name="test", streams=[self.stream, DEAD_LETTERS])
        broker.context.set_global(RETRY_POLICY, RetryPolicy(attempts=3, first_delay=0.02))
        broker.include_routers(*routers)
        self.stack.push_async_callback(broker.stop)
        await broker.start()
        return broker

    async def publish(self, broker: Broker, event: Opened, event_id: str = "") -> None:
        headers = {"ce-id": event_id or uuid4().hex}
        await broker.jetstream.publish(event.subject, event.model_dump_json().encode(), headers=headers)


class Consumer:
    """A service that consumes both types and fails a configured number of times."""

    def __init__(self, shop: Shop, failures: int = 0) -> None:
        self.handled: list[tuple[str, UUID]] = []
        self.keys: list[InboxKey] = []
        self.failures = failures
        self.router = DurableRouter()

        @self.router.consume(Durable("tests-greet", shop.opened, shop.stream))
        async def greet(event: shop.opened, key: MessageInboxKey) -> None:  # type: ignore[name-defined]
            self._handle("greet", event.id, key)

        @self.router.consume(Durable("tests-part", shop.closed, shop.stream))
        async def part(event: shop.closed, key: MessageInboxKey) -> None:  # type: ignore[name-defined]
            self._handle("part", event.id, key)

    def _handle(self, handler: str, event_id: UUID, key: InboxKey) -> None:
        self.keys.append(key)
        if self.failures:
            self.failures -= 1
            raise LookupError("not yet")
        self.handled.append((handler, event_id))


@pytest.fixture
async def shop(nats_server: NatsServer) -> AsyncIterator[Shop]:
    stream = new_stream()

    class OwnOpened(Opened):
        subject: ClassVar[str] = subject_in(stream, "opened")

    class OwnClosed(Opened):
        subject: ClassVar[str] = subject_in(stream, "closed")

    async with AsyncExitStack() as stack:
        yield Shop(OwnOpened, OwnClosed, stream, nats_server.url, stack)


async def test_events_from_before_the_start_and_downtime_are_handled(shop: Shop) -> None:
    publisher = await shop.broker()
    events = [(shop.opened, shop.closed)[number % 2](id=uuid4()) for number in range(300)]
    for event in events[:100]:
        await shop.publish(publisher, event)
    first = Consumer(shop)
    stopping = await shop.broker(first.router)
    await eventually(lambda: len(first.handled) == 100)
    await stopping.stop()
    for event in events[100:]:
        await shop.publish(publisher, event)
    second = Consumer(shop)
    await shop.broker(second.router)
    await eventually(lambda: len(first.handled) + len(second.handled) >= 300)
    expected = Counter(("greet" if isinstance(event, shop.opened) else "part", event.id) for event in events)
    assert Counter(first.handled + second.handled) == expected


async def test_replicas_share_the_events_of_one_subject(shop: Shop) -> None:
    publisher = await shop.broker()
    replicas = [Consumer(shop), Consumer(shop)]
    for replica in replicas:
        await shop.broker(replica.router)
    for _ in range(200):
        await shop.publish(publisher, shop.opened(id=uuid4()))
    await eventually(lambda: sum(len(replica.handled) for replica in replicas) >= 200)
    assert len({event_id for replica in replicas for _, event_id in replica.handled}) == 200
    info = await publisher.jetstream.consumer_info(shop.stream.name, "tests-greet")
    assert info.config.filter_subject == shop.opened.subject


async def test_redelivered_event_keeps_its_inbox_key(shop: Shop) -> None:
    consumer = Consumer(shop, failures=2)
    broker = await shop.broker(consumer.router)
    event = shop.opened(id=uuid4())
    await shop.publish(broker, event, "an-id")
    await eventually(lambda: consumer.handled)
    assert consumer.keys == [InboxKey("tests-greet", "an-id")] * 3


async def test_failing_and_invalid_events_are_dead_lettered_without_blocking(shop: Shop) -> None:
    consumer = Consumer(shop, failures=3)
    broker = await shop.broker(consumer.router)
    bad, good = shop.opened(id=uuid4()), shop.opened(id=uuid4())
    await shop.publish(broker, bad, "poison")
    letter = await eventually(lambda: _dead_letter(broker, shop.opened))
    assert letter is not None
    assert letter["ce-id"] == "poison"
    assert (letter["Dead-Reason"], letter["Dead-Attempts"]) == ("LookupError", "3")
    assert (letter["Dead-Stream"], letter["Dead-Consumer"]) == (shop.stream.name, "tests-greet")
    await broker.jetstream.publish(shop.closed.subject, b"rubbish")
    letter = await eventually(lambda: _dead_letter(broker, shop.closed))
    assert letter is not None
    assert letter["Dead-Attempts"] == "1"
    await shop.publish(broker, good)
    await eventually(lambda: consumer.handled == [("greet", good.id)])


async def test_replayed_dead_letter_keeps_its_inbox_key(shop: Shop) -> None:
    consumer = Consumer(shop, failures=3)
    broker = await shop.broker(consumer.router)
    event = shop.opened(id=uuid4())
    await shop.publish(broker, event, "an-id")
    letter = await eventually(lambda: _dead_letter(broker, shop.opened))
    assert letter is not None
    await broker.jetstream.publish(event.subject, event.model_dump_json().encode(), headers={"ce-id": letter["ce-id"]})
    await eventually(lambda: consumer.handled)
    assert set(consumer.keys) == {InboxKey("tests-greet", "an-id")}


async def test_recreated_consumer_starts_from_the_first_event(shop: Shop) -> None:
    consumer = Consumer(shop)
    broker = await shop.broker(consumer.router)
    event = shop.opened(id=uuid4())
    await shop.publish(broker, event)
    await eventually(lambda: len(consumer.handled) == 1)
    await broker.jetstream.delete_consumer(shop.stream.name, "tests-greet")
    await broker.provision()
    await eventually(lambda: len(consumer.handled) == 2)
    assert len(set(consumer.keys)) == 1  # so the inbox recognizes the repetition


async def _dead_letter(broker: Broker, event: type[Opened]) -> dict[str, str] | None:
    try:
        letter = await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{event.subject}", direct=True)
    except NotFoundError:
        return None
    return letter.headers or {}
