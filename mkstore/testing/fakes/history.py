"""Fake of the gateway's `History`: the event streams in memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from apps.gateway.sse.history import Position, event_streams
from contracts.shards import ALL_IN_ONE, Shards
from contracts.streams import Stream
from kit.messaging.reader import StoredMessage
from kit.runtime.clock import SYSTEM_CLOCK
from mkstore.testing.streams import MemoryStreams


class FakeHistory:
    """The event streams, those of a store in memory or new ones; sequence numbers begin with 1."""

    def __init__(self, streams: MemoryStreams | None = None, shards: Shards = ALL_IN_ONE) -> None:
        self.streams: Sequence[Stream] = event_streams(shards)
        self._streams = MemoryStreams(SYSTEM_CLOCK) if streams is None else streams

    def keep(self, subject: str, body: bytes) -> StoredMessage:
        """Store an event without delivering it."""
        stored, _ = self._streams.store(subject, body, {})
        return StoredMessage(stored.stream.name, stored.sequence, subject, body)

    async def position(self) -> Position:
        return Position(*map(self._streams.last_sequence, self.streams))

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        for stored in list(self._streams.messages(stream)):
            if after < stored.sequence <= to:
                await asyncio.sleep(0)
                yield StoredMessage(stream.name, stored.sequence, stored.subject, stored.body)
