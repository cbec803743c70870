"""A follower of a stream that runs in the background, and what it handed over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.streams import Stream
from kit.messaging import streams
from kit.messaging.follower import Follower
from kit.messaging.reader import sequence_of
from kit.runtime.tasks import cancel_and_wait
from tests.support.polling import eventually
from tests.support.streams import subject_in

CHECK_INTERVAL = 0.1


class Following:
    """A follower that runs in the background, and what it handed over."""

    def __init__(self, client: Client, stream: Stream, **options: Any) -> None:
        self.client = client
        self.stream = stream
        self.jetstream = client.jetstream()
        self.received: list[tuple[int, bytes]] = []
        options = {"check_interval": CHECK_INTERVAL} | options
        self.follower = Follower(self.jetstream, stream, self.record, **options)

    async def record(self, message: Msg) -> None:
        self.received.append((sequence_of(message) or 0, message.data))

    @property
    def sequences(self) -> list[int]:
        return [sequence for sequence, _ in self.received]

    async def publish(self, *bodies: bytes) -> None:
        """Publish on another connection, one after the other."""
        for body in bodies:
            await self.jetstream.publish(subject_in(self.stream, "happened"), body)

    async def publish_batch(self, count: int, *, commit: bool) -> None:
        """Publish an atomic batch; without its commit the server stores nothing of it."""
        batch = uuid4().hex
        for number in range(1, count + 1):
            headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == count and commit:
                headers["Nats-Batch-Commit"] = "1"
            await self.client.publish(subject_in(self.stream, "happened"), b"batch", headers=headers)
        await self.client.flush()

    async def reads(self, count: int) -> None:
        """Wait for `count` messages; they must be in order, without a gap and without a double."""
        await eventually(lambda: len(self.received) >= count, describe=lambda: str(self.sequences))
        first = self.sequences[0]
        assert self.sequences == list(range(first, first + count))


@asynccontextmanager
async def following(url: str, stream: Stream, **options: Any) -> AsyncIterator[Following]:
    """Follow the stream, which is created if it is missing, until the end of the block."""
    async with await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_ignore) as client:
        await streams.provision(client.jetstream(), [stream])
        each = Following(client, stream, **options)
        running = asyncio.create_task(each.follower.run(lambda: False))
        try:
            await eventually(each.follower.started.is_set)
            yield each
        finally:
            await cancel_and_wait([running])


async def _ignore(error: Exception) -> None:
    """Ignore what the client reports while its server is away."""
