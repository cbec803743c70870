"""Events that NATS refuses for good: the others go on, and those of the same aggregate wait."""

import asyncio
from pathlib import Path
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from contracts.base import Event
from contracts.outbox import RefusedEvent
from kit.messaging import streams
from kit.messaging.broker import Broker
from kit.outbox.refused import RefusedEvents
from kit.runtime.tracing import Trace
from mkstore.stack.servers import Login, NatsServer
from tests.kit.outbox.conftest import StartRelay
from tests.support.outbox_events import Counted, Emission, OutboxSource
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import new_stream, subject_in

AGGREGATE = uuid4()


class Padded(Event):
    """An event of any size."""

    subject: ClassVar[str]
    id: UUID
    number: int
    padding: str

    @property
    def aggregate_id(self) -> UUID:
        return self.id

    @property
    def aggregate_version(self) -> int:
        return self.number


@pytest.fixture
def strange() -> type[Counted]:
    """An event whose subject no stream stores."""

    class Strange(Counted):
        subject: ClassVar[str] = f"strange{uuid4().hex}.happened"

    return Strange


async def emit(source: OutboxSource, *events: Event) -> None:
    """Commit these events together."""
    async with Emission(source.connections) as emission:
        await emission.emit(*((event, Trace()) for event in events))


async def refused(source: OutboxSource) -> list[RefusedEvent]:
    async with RefusedEvents(source.connections, autocommit=True) as events:
        return [*await events.list(0)]


async def settle(source: OutboxSource, number: int, action: str) -> bool:
    async with RefusedEvents(source.connections) as events:
        return await (events.publish if action == "publish" else events.discard)(number)


@pytest.fixture
async def relayed(source: OutboxSource, broker: Broker, start_relay: StartRelay) -> OutboxSource:
    await start_relay(broker, retry_delay=0.01)
    return source


async def test_event_whose_subject_is_not_stored_stops_only_its_aggregate(
    strange: type[Counted], relayed: OutboxSource, broker: Broker
) -> None:
    event = relayed.event
    with capture_logs() as logs:
        await emit(
            relayed,
            event(id=AGGREGATE, number=1),
            strange(id=AGGREGATE, number=2),
            event(id=uuid4(), number=10),
            event(id=AGGREGATE, number=3),
        )
        (first,) = await eventually(lambda: refused(relayed))
    assert first.reason == f"The stream {relayed.stream.name} does not store its subject."
    assert (first.subject, first.attempts) == (strange.subject, 3)
    assert [entry["subject"] for entry in logs if entry["event"].startswith("event refused")] == [strange.subject]
    await relayed.emit(20)
    await eventually(lambda: _left(relayed, 1))
    assert await relayed.numbers(broker) == [1, 10, 20]
    ((first,),) = [await refused(relayed)]
    assert first.waiting == 1


@pytest.mark.parametrize(("action", "numbers"), [("publish", [1, 2, 3]), ("discard", [1, 3])])
async def test_settled_event_lets_the_later_ones_go_on_in_order(
    strange: type[Counted], relayed: OutboxSource, broker: Broker, action: str, numbers: list[int]
) -> None:
    event = relayed.event
    await emit(relayed, event(id=AGGREGATE, number=1), strange(id=AGGREGATE, number=2), event(id=AGGREGATE, number=3))
    (first,) = await eventually(lambda: refused(relayed))
    await eventually(lambda: _left(relayed, 1))
    with_strange = relayed.stream.model_copy(update={"subjects": (*relayed.stream.subjects, strange.subject)})
    await streams.provision(broker.jetstream, [with_strange])
    assert await settle(relayed, first.id, action)
    await eventually(relayed.all_sent)
    assert await numbers_in(relayed, broker) == numbers
    assert await refused(relayed) == []
    assert not await settle(relayed, first.id, action)


async def test_event_that_is_refused_again_is_listed_again(strange: type[Counted], relayed: OutboxSource) -> None:
    await emit(relayed, strange(id=AGGREGATE, number=1))
    (first,) = await eventually(lambda: refused(relayed))
    assert await settle(relayed, first.id, "publish")

    async def again() -> bool:
        events = await refused(relayed)
        return bool(events) and events[0].refused_at > first.refused_at

    await eventually(again)


@pytest.mark.parametrize(
    ("kibibytes", "reason"), [(1025, "larger than the stream"), (1088, "larger than NATS"), (1200, "larger than NATS")]
)
async def test_too_large_event_is_refused(relayed: OutboxSource, broker: Broker, kibibytes: int, reason: str) -> None:
    class Large(Padded):
        subject: ClassVar[str] = relayed.event.subject

    event = relayed.event
    large = Large(id=AGGREGATE, number=2, padding="x" * kibibytes * 1024)
    await emit(relayed, event(id=uuid4(), number=1), large, event(id=uuid4(), number=3))
    (first,) = await eventually(lambda: refused(relayed))
    assert reason in first.reason
    await eventually(relayed.all_sent)
    assert await relayed.numbers(broker) == [1, 3]


@pytest.mark.parametrize("alone", [True, False], ids=["single", "batch"])
async def test_event_that_the_login_may_not_publish_is_refused(
    strange: type[Counted], source: OutboxSource, start_relay: StartRelay, tmp_path: Path, *, alone: bool
) -> None:
    may = {"publish": {"allow": ["$JS.API.>", source.event.subject]}, "subscribe": ">"}
    with NatsServer(tmp_path, others=[Login("limited", permissions=may)]) as server:
        operator = ProvisionedBroker(server.url, streams=[source.stream])
        await operator.start()
        broker = Broker(server.url_as("limited", server.port), name="limited")
        await broker.start()
        await start_relay(broker, retry_delay=0.01, publish_timeout=0.5)
        others = [] if alone else [source.event(id=uuid4(), number=1), source.event(id=uuid4(), number=3)]
        await emit(source, *others[:1], strange(id=AGGREGATE, number=2), *others[1:])
        (first,) = await eventually(lambda: refused(source))
        assert "may not publish" in first.reason
        await eventually(source.all_sent)
        assert await source.numbers(operator) == ([] if alone else [1, 3])
        await broker.stop()
        await operator.stop()


async def test_subject_of_another_stream_is_refused(relayed: OutboxSource, broker: Broker) -> None:
    other = new_stream()
    await streams.provision(broker.jetstream, [other])

    class Elsewhere(Counted):
        subject: ClassVar[str] = subject_in(other, "happened")

    await relayed.emit(1)
    await emit(relayed, Elsewhere(id=AGGREGATE, number=2))
    (first,) = await eventually(lambda: refused(relayed))
    assert first.subject == Elsewhere.subject


async def test_missing_stream_refuses_no_event(relayed: OutboxSource, broker: Broker) -> None:
    await relayed.emit(1)
    await eventually(relayed.all_sent)
    await broker.jetstream.delete_stream(relayed.stream.name)
    await relayed.emit(2, 3)
    await asyncio.sleep(1.5)
    assert (await refused(relayed), await relayed.left()) == ([], 2)
    await streams.provision(broker.jetstream, [relayed.stream])
    await eventually(relayed.all_sent)
    assert await relayed.numbers(broker) == [2, 3]


async def test_full_stream_refuses_no_event(relayed: OutboxSource, broker: Broker) -> None:
    full = relayed.stream.model_copy(update={"max_messages": 1, "discard": "new"})
    await relayed.emit(1)
    await eventually(relayed.all_sent)
    await streams.provision(broker.jetstream, [full])
    await relayed.emit(2, 3)
    await asyncio.sleep(1.5)
    assert (await refused(relayed), await relayed.left()) == ([], 2)
    await streams.provision(broker.jetstream, [relayed.stream])
    await eventually(relayed.all_sent)


async def numbers_in(source: OutboxSource, broker: Broker) -> list[int]:
    """Return the numbers of all stored events, of any subject."""
    last = (await broker.jetstream.stream_info(source.stream.name)).state.last_seq
    stored = [await broker.jetstream.get_msg(source.stream.name, sequence) for sequence in range(1, last + 1)]
    return [Counted.model_validate_json(message.data or b"").number for message in stored]


async def _left(source: OutboxSource, count: int) -> bool:
    return await source.left() == count
