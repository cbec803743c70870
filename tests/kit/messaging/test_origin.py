"""Copies of stored messages are refused wherever messages are read."""

from collections.abc import AsyncIterator
from typing import ClassVar
from uuid import uuid4

import pytest
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from contracts.base import DurableCommand, Event
from contracts.payments import CreatePayments
from contracts.streams import DEAD_LETTERS
from contracts.users import UserCreated
from kit.messaging import streams
from kit.messaging.broker import Broker
from kit.messaging.delivery.parts import Invalid, read
from kit.messaging.origin import CopiedMessage
from kit.messaging.reader import last_bodies
from kit.messaging.subscriptions import EventRouter
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import Greetings, NewBroker
from tests.kit.messaging.test_consumers import Greeter
from tests.support.copies import copy_forged
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
        self.elsewhere = subject_in(self.source, "dropped")
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
    yield each
    await each.broker.stop()


async def test_copied_event_is_refused_when_it_arrives(subscribed: Subscribed) -> None:
    client = subscribed.broker.client
    await copy_forged(client, subscribed.source.name, subscribed.elsewhere, greeted("forged"), subscribed.subject)
    await subscribed.publish("Ada")
    assert await subscribed.count() == 2
    assert (subscribed.received, subscribed.refused) == (["Ada"], [subscribed.subject])


async def test_event_on_the_subject_of_republished_ones_is_dropped(subscribed: Subscribed) -> None:
    """Its sequence is that of another stream, and must not move the position of the follower."""
    for _ in range(5):
        live = f"stored.{subscribed.subject}"
        await copy_forged(subscribed.broker.client, subscribed.source.name, subscribed.elsewhere, greeted("x"), live)
    for name in ("Ada", "Grace"):
        await subscribed.publish(name)
    assert (subscribed.received, subscribed.refused) == (["Ada", "Grace"], [])


async def test_lookup_leaves_a_copy_out(subscribed: Subscribed) -> None:
    client = subscribed.broker.client
    await copy_forged(client, subscribed.source.name, subscribed.elsewhere, greeted("forged"), subscribed.subject)
    assert await last_bodies(subscribed.broker.jetstream, subscribed.stream, [subscribed.subject]) == {}
    await subscribed.publish("Ada")
    assert await last_bodies(subscribed.broker.jetstream, subscribed.stream, [subscribed.subject]) == {
        subscribed.subject: greeted("Ada")
    }


async def test_copied_command_is_dead_lettered_and_not_handled(
    new_broker: NewBroker, broker: Broker, greetings: Greetings
) -> None:
    source, greeter, command = new_stream(), Greeter(greetings), greetings.command(id=uuid4())
    await streams.provision(broker.jetstream, [source])
    await greeter.start(new_broker())
    forged = command.model_dump_json().encode()
    await copy_forged(broker.client, source.name, subject_in(source, "x"), forged, command.address)

    async def reason() -> str:
        try:
            letter = await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{command.address}", direct=True)
        except NotFoundError:
            return ""
        return str((letter.headers or {})["Dead-Reason"])

    assert await eventually(reason) == "CopiedMessage"
    assert not greeter.attempts
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: greeter.greeted == [command.id])


@pytest.mark.parametrize("contract", [CreatePayments, UserCreated])
def test_copied_message_is_one_invalid_part(contract: type[DurableCommand | Event]) -> None:
    message = Msg(_client=None, subject="x", data=b"{}", headers={"Nats-Stream": "DEAD_LETTERS"})  # type: ignore[arg-type]
    (part,) = read(contract, message)
    assert isinstance(part.content, Invalid)
    assert isinstance(part.content.error, CopiedMessage)
