"""Reads stored messages in batches with direct gets, which create no consumer on the server."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

_BATCH = 256
_REPLY_TIMEOUT = 5.0
_REPLICA_RETRY_DELAY = 0.05

Read = Callable[[str, Mapping[str, Any]], Awaitable[list[Msg]]]
"""Returns the messages of a stream for a batch request such as `{"seq": 1, "next_by_subj": ">", "batch": 100}`.

Each message also has the headers `Nats-Sequence`, `Nats-Subject` and `Nats-Time-Stamp`. No messages means the end of
the stream, or a replica that lags behind (NATS ADR-31).
"""


class StoredMessage(NamedTuple):
    """One message as it is stored in its stream."""

    stream: str
    sequence: int
    subject: str
    body: bytes


def sequence_of(message: Msg) -> int | None:
    """Return the sequence of a message that was republished or read from its stream; None for any other."""
    sequence = (message.headers or {}).get("Nats-Sequence")
    return None if sequence is None else int(sequence)


def stored_message(stream: str, message: Msg) -> StoredMessage:
    """Return a message that `stream` has republished or that was read from it. Raises `KeyError` for any other."""
    headers = message.headers or {}
    return StoredMessage(stream, int(headers["Nats-Sequence"]), headers["Nats-Subject"], message.data)


@asynccontextmanager
async def stream_reader(client: Client) -> AsyncIterator[Read]:
    """Yield a function that reads streams over one subscription.

    The function raises nats-py's errors, such as a timeout after 5 s without a reply.
    """
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)

    async def read(stream: str, begin: Mapping[str, Any]) -> list[Msg]:
        await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(begin).encode(), reply=inbox)
        messages: list[Msg] = []
        while "Nats-Sequence" in ((message := await replies.next_msg(timeout=_REPLY_TIMEOUT)).headers or {}):
            messages.append(message)
        return messages

    try:
        yield read
    finally:
        with suppress(NatsError):
            await replies.unsubscribe()


async def read_range(
    client: Client, jetstream: JetStreamContext, stream: str, *, after: int, to: int
) -> AsyncGenerator[Msg, None]:
    """Yield the messages of a stream from `after`, exclusive, to `to`, inclusive, which must have been stored.

    Those that the stream has removed are left out. Raises nats-py's errors.
    """
    if after >= to:
        return
    async with stream_reader(client) as read:
        while after < to:
            messages = await read(stream, {"seq": after + 1, "next_by_subj": ">", "batch": min(_BATCH, to - after)})
            for message in messages:
                sequence = sequence_of(message) or 0
                if sequence > to:
                    return
                after = sequence
                yield message
            if not messages and not await _is_stored(jetstream, stream, to):
                return


async def _is_stored(jetstream: JetStreamContext, stream: str, sequence: int) -> bool:
    """Return whether the leader has the message; then the replica that did not return it is behind."""
    try:
        await jetstream.get_msg(stream, sequence)
    except NotFoundError:
        return False
    await asyncio.sleep(_REPLICA_RETRY_DELAY)
    return True
