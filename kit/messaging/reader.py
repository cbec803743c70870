"""Reading what a stream keeps: many messages at a time, by direct gets, which leave nothing on the server."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

_SECONDS = 5.0

Read = Callable[[str, Mapping[str, Any]], Awaitable[list[Msg]]]
"""Returns the messages of a stream that a request for a batch names: `{"seq": 1, "next_by_subj": ">", "batch": 100}`.

Each has the headers `Nats-Sequence`, `Nats-Subject` and `Nats-Time-Stamp` beside its own. None is an end, or a replica
that is behind the others (NATS ADR-31).
"""


@asynccontextmanager
async def stream_reader(client: Client) -> AsyncIterator[Read]:
    """Yield what reads streams over one subscription; raises nats-py's errors, a timeout after 5 s among them."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)

    async def read(stream: str, begin: Mapping[str, Any]) -> list[Msg]:
        await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(begin).encode(), reply=inbox)
        found: list[Msg] = []
        while "Nats-Sequence" in ((message := await answers.next_msg(timeout=_SECONDS)).headers or {}):
            found.append(message)
        return found

    try:
        yield read
    finally:
        with suppress(NatsError):
            await answers.unsubscribe()
