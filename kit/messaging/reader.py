"""Reads stored messages in batches with direct gets, which create no consumer on the server."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

_REPLY_TIMEOUT = 5.0

Read = Callable[[str, Mapping[str, Any]], Awaitable[list[Msg]]]
"""Returns the messages of a stream for a batch request such as `{"seq": 1, "next_by_subj": ">", "batch": 100}`.

Each message also has the headers `Nats-Sequence`, `Nats-Subject` and `Nats-Time-Stamp`. No messages means the end of
the stream, or a replica that lags behind (NATS ADR-31).
"""


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
