"""Events that a service must not miss: kept for it while it is away, given again until handled, shared by replicas."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import ClassVar, NamedTuple
from uuid import UUID, uuid4

import pytest
from nats.js.errors import NotFoundError

from contracts.base import Event
from contracts.consumers import Durable
from contracts.streams import DEAD_LETTERS, Stream
from kit.inbox import InboxKey
from kit.messaging.broker import Broker
from kit.messaging.consumers import RETRY_POLICY, DurableRouter
from kit.messaging.inbox_key import MessageInboxKey
from kit.messaging.retry import RetryPolicy
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually


class Opened(Event):
    """What happens in these tests."""

    subject: ClassVar[str]
    id: UUID
    version: int = 1


class Shop(NamedTuple):
    """Two kinds of events in one stream, of this test alone, and a broker to tell them by."""

    opened: type[Opened]
    closed: type[Opened]
    stream: Stream
    url: str
    stack: AsyncExitStack

    async def broker(self, *routers: DurableRouter) -> Broker:
        broker = Broker(self.url, name="test", streams=[self.stream, DEAD_LETTERS], repair_interval=0.2)
        broker.context.set_global(RETRY_POLICY, RetryPolicy(attempts=3, first_delay=0.02))
        broker.include_routers(*routers)
        self.stack.push_async_callback(broker.stop)
        await broker.start()
        return broker

    async def tell(self, broker: Broker, event: Opened, event_id: str = "") -> None:
        headers = {"ce-id": event_id or uuid4().hex}
        await broker.jetstream.publish(event.subject, event.model_dump_json().encode(), headers=headers)


class Neighbour:
    """A service that consumes both kinds and fails a configured number of times."""

    def __init__(self, shop: Shop, failures: int = 0) -> None:
        self.seen: list[tuple[str, UUID]] = []
        self.marks: list[InboxKey] = []
        self.left = failures
        self.router = DurableRouter()

        @self.router.consume(Durable("tests-visit", shop.opened, shop.stream))
        async def visit(event: shop.opened, mark: MessageInboxKey) -> None:  # type: ignore[name-defined]
            self._take("visit", event.id, mark)

        @self.router.consume(Durable("tests-mourn", shop.closed, shop.stream))
        async def mourn(event: shop.closed, mark: MessageInboxKey) -> None:  # type: ignore[name-defined]
            self._take("mourn", event.id, mark)

    def _take(self, what: str, event_id: UUID, mark: InboxKey) -> None:
        self.marks.append(mark)
        if self.left:
            self.left -= 1
            raise LookupError("not yet")
        self.seen.append((what, event_id))


@pytest.fixture
async def shop(nats_server: NatsServer) -> AsyncIterator[Shop]:
    word = f"t{secrets.token_hex(4)}"

    class OwnOpened(Opened):
        subject: ClassVar[str] = f"{word}.opened"

    class OwnClosed(Opened):
        subject: ClassVar[str] = f"{word}.closed"

    stream = Stream(
        name=word.upper(),
        subjects=(f"{word}.*",),
        retention="limits",
        discard="old",
        duplicate_window=timedelta(minutes=2),
    )
    async with AsyncExitStack() as stack:
        yield Shop(OwnOpened, OwnClosed, stream, nats_server.url, stack)


async def test_events_from_before_the_first_start_and_from_while_it_was_away_are_handled_each_by_its_handler(
    shop: Shop,
) -> None:
    teller = await shop.broker()
    events = [(shop.opened, shop.closed)[number % 2](id=uuid4()) for number in range(300)]
    for event in events[:100]:
        await shop.tell(teller, event)
    first = Neighbour(shop)
    away = await shop.broker(first.router)
    await eventually(lambda: len(first.seen) == 100)
    await away.stop()
    for event in events[100:]:
        await shop.tell(teller, event)
    second = Neighbour(shop)
    await shop.broker(second.router)
    await eventually(lambda: len(first.seen) + len(second.seen) >= 300)
    told = Counter(("visit" if isinstance(event, shop.opened) else "mourn", event.id) for event in events)
    assert Counter(first.seen + second.seen) == told


async def test_replicas_share_the_events_and_no_other_stream_of_subjects_is_touched(shop: Shop) -> None:
    teller = await shop.broker()
    replicas = [Neighbour(shop), Neighbour(shop)]
    for replica in replicas:
        await shop.broker(replica.router)
    for _ in range(200):
        await shop.tell(teller, shop.opened(id=uuid4()))
    await eventually(lambda: sum(len(replica.seen) for replica in replicas) >= 200)
    assert len({event_id for replica in replicas for _, event_id in replica.seen}) == 200
    info = await teller.jetstream.consumer_info(shop.stream.name, "tests-visit")
    assert info.config.filter_subject == shop.opened.subject


async def test_what_fails_comes_again_under_the_same_mark(shop: Shop) -> None:
    neighbour = Neighbour(shop, failures=2)
    broker = await shop.broker(neighbour.router)
    event = shop.opened(id=uuid4())
    await shop.tell(broker, event, "an-id")
    await eventually(lambda: neighbour.seen)
    assert neighbour.marks == [InboxKey("tests-visit", "an-id")] * 3


async def test_what_keeps_failing_or_does_not_fit_goes_to_the_dead_letters_and_the_next_ones_come(shop: Shop) -> None:
    neighbour = Neighbour(shop, failures=3)
    broker = await shop.broker(neighbour.router)
    bad, good = shop.opened(id=uuid4()), shop.opened(id=uuid4())
    await shop.tell(broker, bad, "poison")
    letter = await eventually(lambda: dead(broker, shop.opened))
    assert letter is not None
    assert letter["ce-id"] == "poison"
    assert (letter["Dead-Reason"], letter["Dead-Attempts"]) == ("LookupError", "3")
    assert (letter["Dead-Stream"], letter["Dead-Consumer"]) == (shop.stream.name, "tests-visit")
    await broker.jetstream.publish(shop.closed.subject, b"rubbish")
    letter = await eventually(lambda: dead(broker, shop.closed))
    assert letter is not None
    assert letter["Dead-Attempts"] == "1"
    await shop.tell(broker, good)
    await eventually(lambda: neighbour.seen == [("visit", good.id)])


async def test_what_the_dead_letters_gave_back_keeps_its_mark(shop: Shop) -> None:
    neighbour = Neighbour(shop, failures=3)
    broker = await shop.broker(neighbour.router)
    event = shop.opened(id=uuid4())
    await shop.tell(broker, event, "an-id")
    letter = await eventually(lambda: dead(broker, shop.opened))
    assert letter is not None
    await broker.jetstream.publish(event.subject, event.model_dump_json().encode(), headers={"ce-id": letter["ce-id"]})
    await eventually(lambda: neighbour.seen)
    assert set(neighbour.marks) == {InboxKey("tests-visit", "an-id")}


async def test_a_consumer_that_was_lost_is_made_again_and_begins_anew(shop: Shop) -> None:
    neighbour = Neighbour(shop)
    broker = await shop.broker(neighbour.router)
    event = shop.opened(id=uuid4())
    await shop.tell(broker, event)
    await eventually(lambda: len(neighbour.seen) == 1)
    await broker.jetstream.delete_consumer(shop.stream.name, "tests-visit")
    await eventually(lambda: len(neighbour.seen) == 2)
    assert len(set(neighbour.marks)) == 1  # by which the second time is known as such


async def dead(broker: Broker, event: type[Opened]) -> dict[str, str] | None:
    try:
        letter = await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{event.subject}", direct=True)
    except NotFoundError:
        return None
    return letter.headers or {}
