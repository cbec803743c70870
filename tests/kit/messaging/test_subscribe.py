"""Following a stream from within one process: without a gap, also when NATS was away."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar

import pytest
from nats.errors import Error as NatsError

from contracts.base import Event
from contracts.streams import Stream
from kit.messaging.broker import Broker
from kit.messaging.subscriptions import EventRouter
from mkstore.stack.servers import NatsServer
from tests.support.polling import eventually


class Greeted(Event):
    """The event of these tests."""

    subject: ClassVar[str]
    name: str


@pytest.mark.parametrize("since", [None, timedelta(hours=1)])
async def test_subscription_has_no_gap_after_nats_was_down(own_server: NatsServer, since: timedelta | None) -> None:
    word = f"t{secrets.token_hex(4)}"
    stream = Stream(
        name=word.upper(),
        subjects=(f"{word}.*",),
        retention="limits",
        discard="old",
        duplicate_window=timedelta(minutes=2),
    )
    router, received = EventRouter(), list[str]()

    @router.subscribe(stream, since=datetime.now(UTC) - since if since else None)
    async def record(greeted: Greeted) -> None:
        received.append(greeted.name)

    async def published_and_received(name: str) -> bool:
        """Return whether an event was stored in the stream; wait until it is received."""
        try:
            await broker.jetstream.publish(f"{word}.greeted", Greeted(name=name).model_dump_json().encode(), timeout=1)
        except NatsError:
            return False
        await eventually(lambda: name in received, describe=lambda: str(received))
        return True

    await asyncio.to_thread(own_server.start)
    broker = Broker(own_server.url, name="test", streams=[stream])
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


async def test_a_broker_that_never_connected_is_not_connected() -> None:
    assert not Broker("nats://127.0.0.1:1", name="test").is_connected()
