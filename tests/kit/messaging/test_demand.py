"""Subscriptions on demand: they exist only while something needs them, and then miss nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar

import httpx
import pytest
from faststream.nats import TestNatsBroker

from contracts.base import Event
from contracts.streams import STORED, Stream
from kit.errors import Unavailable
from kit.messaging.demand import Demand
from kit.messaging.reader import StoredMessage
from kit.messaging.subscriptions import EventRouter
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import new_stream, subject_in


class Greeted(Event):
    """An event of these tests."""

    subject: ClassVar[str]
    name: str


class Listener:
    """A broker with one subscription on demand, what its handler received, and what stood before it."""

    def __init__(self, url: str, demand: Demand) -> None:
        self.stream: Stream = new_stream()
        self.demand = demand
        self.broker = ProvisionedBroker(url, name="test", streams=[self.stream])
        self.seen: list[StoredMessage] = []
        self.handled: list[str] = []
        router = EventRouter(check_interval=0.05)

        @router.subscribe(self.stream, before=self.before, demand=demand)
        async def record(greeted: Greeted) -> None:
            self.handled.append(greeted.name)

        self.broker.include_router(router)

    def before(self, event: StoredMessage) -> bool:
        """Let through what does not begin with "un"."""
        self.seen.append(event)
        return not json.loads(event.body)["name"].startswith("un")

    def has_handled(self, name: str) -> bool:
        return name in self.handled

    async def publish(self, *names: str) -> None:
        for name in names:
            body = Greeted(name=name).model_dump_json().encode()
            await self.broker.publish(body, subject_in(self.stream, "greeted"), stream=self.stream.name, timeout=30)


@asynccontextmanager
async def listener(url: str, **options: Any) -> AsyncIterator[Listener]:
    each = Listener(url, Demand(**options))
    await each.broker.start()
    try:
        yield each
    finally:
        await each.broker.stop()


def subscribed(server: NatsServer, stream: Stream) -> int:
    """Count the subscriptions to what the stream republishes, in the server's monitoring."""
    connections = httpx.get(f"{server.monitor_url}/connz?subs=1", trust_env=False).json()["connections"]
    subjects = [subject for each in connections for subject in each.get("subscriptions_list", ())]
    return subjects.count(f"{STORED}{stream.subjects[0]}")


async def test_nothing_is_subscribed_while_nothing_needs_it(nats_server: NatsServer) -> None:
    async with listener(nats_server.url, linger_time=0) as each:
        await each.publish("early")
        assert subscribed(nats_server, each.stream) == 0
        async with each.demand.needed() as position:
            assert (position, subscribed(nats_server, each.stream)) == (1, 1)
            async with each.demand.needed():
                assert subscribed(nats_server, each.stream) == 1
            await each.publish("Ada")
            await eventually(lambda: each.handled == ["Ada"])
        await eventually(lambda: subscribed(nats_server, each.stream) == 0)
        await each.publish("late")
    assert [event.sequence for event in each.seen] == [2]


async def test_event_right_after_the_need_has_begun_arrives(nats_server: NatsServer) -> None:
    """Each need begins a subscription, because none of them lingers."""
    async with listener(nats_server.url, linger_time=0) as each:
        for number in range(30):
            await each.publish(f"unwanted {number}")
            async with each.demand.needed():
                await each.publish(f"wanted {number}")
                await eventually(partial(each.has_handled, f"wanted {number}"))
            await asyncio.sleep(0.01 * (number % 10))  # before, while and after the last one ends
    assert each.handled == [f"wanted {number}" for number in range(30)]
    assert [event.sequence for event in each.seen] == sorted({event.sequence for event in each.seen})


async def test_subscription_lingers_for_the_next_need(nats_server: NatsServer) -> None:
    async with listener(nats_server.url, linger_time=60) as each:
        async with each.demand.needed():
            pass
        await asyncio.sleep(0.2)
        assert subscribed(nats_server, each.stream) == 1
        await each.publish("Ada")
        await eventually(lambda: each.handled == ["Ada"])


async def test_event_that_nothing_waits_for_is_not_handled(nats_server: NatsServer) -> None:
    async with listener(nats_server.url) as each, each.demand.needed():
        await each.publish("unwanted", "Ada", "unwanted too", "Grace")
        await eventually(lambda: each.handled == ["Ada", "Grace"])
        assert [event.sequence for event in each.seen] == [1, 2, 3, 4]


async def test_need_is_refused_without_nats_and_met_after_the_reconnect(own_server: NatsServer) -> None:
    await asyncio.to_thread(own_server.start)
    async with listener(own_server.url, linger_time=0, start_timeout=5) as each:
        await asyncio.to_thread(own_server.kill)
        await eventually(lambda: not each.broker.is_connected())
        with pytest.raises(Unavailable):
            async with each.demand.needed():
                pass
        await asyncio.to_thread(own_server.start)
        await eventually(each.broker.is_connected)
        async with each.demand.needed():
            await each.publish("Ada")
            await eventually(lambda: each.handled == ["Ada"])


async def test_need_is_refused_before_the_start() -> None:
    each = Listener("nats://127.0.0.1:1", Demand())
    with pytest.raises(Unavailable):
        async with each.demand.needed():
            pass


async def test_every_event_arrives_in_memory() -> None:
    """TestNatsBroker republishes nothing: what is published passes `before` and reaches the handler at once."""
    each = Listener("nats://127.0.0.1:1", Demand())
    async with TestNatsBroker(each.broker), each.demand.needed() as position:
        await each.publish("Ada", "unwanted", "Grace")
        assert (position, each.handled) == (0, ["Ada", "Grace"])
        assert [(event.stream, event.sequence, event.subject) for event in each.seen] == [
            (each.stream.name, number, subject_in(each.stream, "greeted")) for number in (1, 2, 3)
        ]
