"""A feed of two streams, and clients that read it in the background."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from apps.gateway.sse.broadcaster import Broadcaster, Item
from apps.gateway.sse.history import Position, StoredEvent
from contracts.streams import Stream
from tests.support.gateway_fakes import FakeHistory
from tests.support.polling import eventually

ADA, BOB = UUID(int=1), UUID(int=2)


class Streams:
    """Two streams, a feed that reads them, and a number in each event to tell it by."""

    def __init__(self) -> None:
        self.history = FakeHistory()
        self.feed = Broadcaster(self.history, lambda _, body: UUID(json.loads(body)["of"]))
        self.said = 0

    def keep(self, stream: Stream, user: UUID = ADA) -> StoredEvent:
        """Let an event happen of which the reader has not heard yet."""
        self.said += 1
        body = json.dumps({"of": str(user), "number": self.said}).encode()
        return self.history.keep(stream, f"{stream.subjects[0].removesuffix('*')}happened", body)

    def happen(self, stream: Stream, user: UUID = ADA, times: int = 1) -> None:
        for _ in range(times):
            self.feed.take(self.keep(stream, user))

    def client(self, since: Position | None = None, user: UUID = ADA, seconds: float = 30) -> "Client":
        return Client(self.feed.events(user, since or self.feed.position, seconds))


class Client:
    """Reads what the feed yields, in the background."""

    def __init__(self, events: AsyncIterator[Item | None]) -> None:
        self.items: list[Item] = []
        self.quiet = 0
        self.reading = asyncio.create_task(self._read(events))

    async def _read(self, events: AsyncIterator[Item | None]) -> None:
        async for item in events:
            if item is None:
                self.quiet += 1
            else:
                self.items.append(item)

    @property
    def numbers(self) -> list[int]:
        return [json.loads(item.body)["number"] for item in self.items]

    async def reads(self, *numbers: int) -> None:
        await eventually(lambda: len(self.items) >= len(numbers), or_else=lambda: self.numbers)
        assert self.numbers == list(numbers)

    async def end(self) -> None:
        await asyncio.wait_for(self.reading, 10)

    async def leave(self) -> None:
        self.reading.cancel()
        await asyncio.wait([self.reading])


@asynccontextmanager
async def started() -> AsyncIterator[Streams]:
    streams = Streams()
    await streams.feed.start()
    yield streams
    streams.feed.close()
