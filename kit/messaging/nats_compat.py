"""Every use of a private name of nats-py, with the version that it was checked with and the reason.

Checked with nats-py 2.16.0. No upstream issues known; tests/kit/messaging covers every function.
"""

from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext


def server_id(client: Client) -> str:
    """Return the id of the server that the client is connected to; empty if it has none.

    Reason: the client keeps the server's INFO and publishes only parts of it.
    """
    return str(getattr(client, "_server_info", {}).get("server_id", ""))


def next_message_subject(subscription: Any) -> str:
    """Return the API subject on which a pull subscription requests messages.

    Reason: the subject includes the API prefix of the JetStream context, which only the subscription knows.
    """
    return str(subscription._nms)  # noqa: SLF001


def jetstream_of(message: Msg) -> JetStreamContext:
    """Return JetStream on the connection that a message arrived on.

    Reason: a middleware is given the message and not the connection.
    """
    return message._client.jetstream()  # noqa: SLF001


async def drain(subscription: Subscription) -> None:
    """Unsubscribe, and wait until every message that the server sent before is handed to the callback.

    Reason: `Subscription.drain` writes its PING ahead of its UNSUB, which waits in a buffer. A message that arrives
    between the PONG and the end of the subscription is dropped without a trace. The first flush here empties that
    buffer, and the PONG of the second one follows the last message.
    """
    client: Client = subscription._conn  # noqa: SLF001
    await client._send_unsubscribe(subscription._id)  # noqa: SLF001
    for _ in range(2):
        await client.flush()
    await subscription.drain()  # type: ignore[no-untyped-call]
