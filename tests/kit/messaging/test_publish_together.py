"""Messages that are written in one piece arrive as those of `publish` do."""

import asyncio

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, ConnectionReconnectingError, MaxPayloadError

from kit.messaging.broker import Broker
from kit.messaging.nats_compat import RawMessage, publish_together
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import NewBroker
from tests.support.polling import eventually
from tests.support.streams import new_stream, subject_in


async def _received(client: Client, messages: list[RawMessage], *, together: bool) -> list[Msg]:
    """Publish `messages` in one piece or one by one; return them as a subscriber gets them."""
    subscription = await client.subscribe(messages[0].subject)
    if together:
        await publish_together(client, messages)
    else:
        for subject, headers, body in messages:
            await client.publish(subject, body, headers=headers)
    try:
        return [await subscription.next_msg(timeout=30) for _ in messages]
    finally:
        await subscription.unsubscribe()


async def test_messages_arrive_as_if_published_one_by_one(broker: Broker) -> None:
    subject = subject_in(new_stream(), "together")
    messages = [
        RawMessage(subject, {"Nats-Msg-Id": f"id-{number}", "ce-type": "user.created"}, body)
        for number, body in enumerate(
            [b"", b"{}", b"\r\n\r\n", "\u00fc".encode(), b"x" * 300_000, b"y" * 300_000, b"z"]
        )
    ]
    one_by_one = await _received(broker.client, messages, together=False)
    sent = broker.client.stats["out_msgs"]
    together = await _received(broker.client, messages, together=True)
    assert [(each.data, each.headers) for each in together] == [(each.data, each.headers) for each in one_by_one]
    assert broker.client.stats["out_msgs"] == sent + len(messages)


async def test_more_bytes_than_the_buffer_holds_are_published_in_order(broker: Broker) -> None:
    subject = subject_in(new_stream(), "together")
    messages = [RawMessage(subject, {"number": str(number)}, b"x" * 900_000) for number in range(12)]
    received = await _received(broker.client, messages, together=True)
    assert [(each.headers or {})["number"] for each in received] == [str(number) for number in range(12)]


async def test_message_above_the_servers_limit_is_refused(broker: Broker) -> None:
    subject = subject_in(new_stream(), "together")
    with pytest.raises(MaxPayloadError):
        await publish_together(broker.client, [RawMessage(subject, {}, b"x" * (broker.client.max_payload + 1))])


async def test_nothing_is_buffered_without_a_connection(new_broker: NewBroker, own_server: NatsServer) -> None:
    await asyncio.to_thread(own_server.start)
    broker = new_broker(own_server.url)
    await broker.connect()
    client = broker.client
    message = RawMessage(subject_in(new_stream(), "together"), {}, b"{}")
    await asyncio.to_thread(own_server.kill)
    await eventually(lambda: not broker.is_connected())
    with pytest.raises(ConnectionReconnectingError):
        await publish_together(client, [message])
    assert client.pending_data_size == 0
    await broker.stop()
    with pytest.raises(ConnectionClosedError):
        await publish_together(client, [message])
