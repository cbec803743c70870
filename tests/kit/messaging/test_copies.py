"""Messages of another stream that JetStream has copied here, with their own subject or on that of republished ones."""

import json
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
from nats.js.api import ConsumerConfig

from contracts.base import Event
from kit.messaging.reader import read_range, stored_message
from kit.messaging.subscriptions import EventRouter
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import new_stream, subject_in


class Greeted(Event):
    """An event of these tests."""

    subject: ClassVar[str]
    name: str


def greeted(name: str) -> bytes:
    return Greeted(name=name).model_dump_json().encode()


class Subscribed:
    """A stream, another one to copy from, and what a subscriber of the first got."""

    def __init__(self, url: str) -> None:
        self.stream, self.source = new_stream(), new_stream()
        self.received: list[str] = []
        self.refused: list[str] = []
        self.subject = subject_in(self.stream, "greeted")
        self.elsewhere = subject_in(self.source, "greeted")
        self.broker = ProvisionedBroker(url, name="test", streams=[self.stream, self.source])
        router = EventRouter(check_interval=0.1)

        @router.subscribe(self.stream, refused=lambda stored: self.refused.append(stored.subject))
        async def record(event: Greeted) -> None:
            self.received.append(event.name)

        self.broker.include_router(router)

    async def publish(self, name: str) -> None:
        """Publish an event, and wait until it has arrived."""
        await self.broker.jetstream.publish(self.subject, greeted(name))
        await eventually(lambda: self.received[-1:] == [name])

    async def count(self) -> int:
        return (await self.broker.jetstream.stream_info(self.stream.name)).state.messages


@pytest.fixture
async def subscribed(nats_server: NatsServer) -> AsyncIterator[Subscribed]:
    each = Subscribed(nats_server.url)
    await each.broker.start()
    await each.broker.jetstream.publish(each.elsewhere, greeted("copied"))
    yield each
    await each.broker.stop()


async def test_event_that_a_pull_has_copied_is_refused(subscribed: Subscribed) -> None:
    jetstream, source = subscribed.broker.jetstream, subscribed.source.name
    await jetstream.add_consumer(source, ConsumerConfig(durable_name="copies", ack_policy="none"))  # type: ignore[arg-type]
    await subscribed.broker.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{source}.copies", reply=subscribed.subject)
    await eventually(lambda: subscribed.refused == [subscribed.elsewhere])
    await subscribed.publish("Ada")
    assert await subscribed.count() == 2
    assert subscribed.received == ["Ada"]
    stored = [
        stored_message(subscribed.stream, each)
        async for each in read_range(jetstream, subscribed.stream.name, after=0, to=2)
    ]
    assert [each.original for each in stored] == [False, True]


async def test_event_on_the_subject_of_republished_ones_is_dropped(subscribed: Subscribed) -> None:
    """Its sequence is that of another stream, and must not move the position of the follower."""
    for _ in range(5):
        body = json.dumps({"last_by_subj": subscribed.elsewhere}).encode()
        request = f"$JS.API.DIRECT.GET.{subscribed.source.name}"
        await subscribed.broker.client.publish(request, body, reply=f"stored.{subscribed.subject}")
    await subscribed.broker.client.flush()
    for name in ("Ada", "Grace"):
        await subscribed.publish(name)
    assert (subscribed.received, subscribed.refused) == (["Ada", "Grace"], [])
