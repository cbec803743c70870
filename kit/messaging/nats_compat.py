"""Every use of a private name of nats-py, with the version that it was checked with and the reason.

Checked with nats-py 2.16.0. No upstream issues known; tests/kit/messaging covers every function.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, ConnectionReconnectingError, MaxPayloadError
from nats.js import JetStreamContext

_PIECE = 512 * 1024
_HEADER_FRAME = len(b"NATS/1.0\r\n\r\n")


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


def api_subject(jetstream: JetStreamContext, request: str) -> str:
    """Return the subject of a request to JetStream's API, such as `DIRECT.GET.PAYMENT_EVENTS`.

    Reason: only the context knows the prefix of the API.
    """
    return f"{jetstream._prefix}.{request}"  # noqa: SLF001


def client_of(jetstream: JetStreamContext) -> Client:
    """Return the connection of a JetStream context.

    Reason: what reads a stream needs both, and a context has exactly one connection.
    """
    return jetstream._nc  # noqa: SLF001


def jetstream_of(message: Msg) -> JetStreamContext:
    """Return JetStream on the connection that a message arrived on.

    Reason: a middleware is given the message and not the connection.
    """
    return message._client.jetstream()  # noqa: SLF001


class RawMessage(NamedTuple):
    """A message to publish: its subject, its headers, valid as they are, and its body."""

    subject: str
    headers: dict[str, str]
    body: bytes


async def publish_together(client: Client, messages: Iterable[RawMessage]) -> None:
    """Publish messages in one piece, or several of `_PIECE` bytes, in their order.

    Raises nats-py's errors: `MaxPayloadError`, and `ConnectionClosedError` or `ConnectionReconnectingError` without a
    connection, so that nothing waits in the client's buffer for a reconnect. As with `publish`, what was handed to the
    connection may still be lost with it.

    Reason: `publish` validates and encodes each header and wakes the flusher for each message. Without that the
    relay needs half the processor time per event (ADR 22).
    """
    if client.is_closed:
        raise ConnectionClosedError
    piece = bytearray()
    for subject, headers, body in messages:
        if not client.is_connected or client.is_draining_pubs:
            raise ConnectionReconnectingError
        if len(body) > client.max_payload:
            raise MaxPayloadError
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        length = len(head) + _HEADER_FRAME
        piece += b"HPUB %s %d %d\r\nNATS/1.0\r\n%s\r\n%s\r\n" % (
            subject.encode(),
            length,
            length + len(body),
            head,
            body,
        )
        client.stats["out_msgs"] += 1
        client.stats["out_bytes"] += len(body)
        if len(piece) >= _PIECE:
            await client._send_command(bytes(piece))  # noqa: SLF001 - waits for the socket above the pending limit
            piece.clear()
    await client._send_command(bytes(piece))  # noqa: SLF001
    await client._flush_pending()  # noqa: SLF001


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
