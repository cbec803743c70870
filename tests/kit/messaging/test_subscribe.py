"""Subscriptions of one process to a stream."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar

from nats.errors import Error as NatsError

from contracts.base import Event
from kit.messaging.broker import Broker
from kit.messaging.subscriptions import EventRouter
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import new_stream, subject_in


class Greeted(Event):
    """An event of these tests."""

    subject: ClassVar[str]
    name: str


async def test_subscriptions_have_no_gap_after_nats_was_down(own_server: NatsServer) -> None:
    """One subscribes from now on, the other since an hour ago."""
    stream, router = new_stream(), EventRouter()
    received: dict[str, list[str]] = {"now": [], "hour ago": []}

    @router.subscribe(stream)
    async def record_new(greeted: Greeted) -> None:
        received["now"].append(greeted.name)

    @router.subscribe(stream, since=datetime.now(UTC) - timedelta(hours=1))
    async def record_all(greeted: Greeted) -> None:
        received["hour ago"].append(greeted.name)

    async def published_and_received(name: str) -> bool:
        """Return whether an event was stored in the stream; wait until it is received."""
        event = Greeted(name=name).model_dump_json().encode()
        try:
            await broker.jetstream.publish(subject_in(stream, "greeted"), event, timeout=1)
        except NatsError:
            return False
        await eventually(lambda: all(name in names for names in received.values()), describe=lambda: str(received))
        return True

    await asyncio.to_thread(own_server.start)
    broker = ProvisionedBroker(own_server.url, name="test", streams=[stream])
    broker.include_router(router)
    try:
        await broker.start()
        for name in ("Ada", "Grace", "Edsger"):
            await eventually(partial(published_and_received, name))
            await asyncio.to_thread(own_server.kill)
            await eventually(lambda: not broker.is_connected())
            await asyncio.to_thread(own_server.start)
            await eventually(broker.is_connected)
    finally:
        await broker.stop()


def test_broker_without_a_connection_is_not_connected() -> None:
    assert not Broker("nats://127.0.0.1:1", name="test").is_connected()
