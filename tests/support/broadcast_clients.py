"""A broadcaster of two streams, and clients that read it in the background."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from apps.gateway.sse.broadcaster import Broadcaster
from apps.gateway.sse.history import Position
from apps.gateway.sse.replay import Item
from contracts.streams import Stream
from kit.messaging.reader import StoredMessage
from kit.runtime.tasks import cancel_and_wait
from mkstore.testing.fakes.history import FakeHistory
from tests.support.polling import eventually

ADA, BOB = UUID(int=1), UUID(int=2)
SESSION = UUID(int=3)


class Streams:
    """Two streams, a broadcaster that reads them, and a number in each event; `options` are the broadcaster's."""

    def __init__(self, history: FakeHistory | None = None, **options: Any) -> None:
        self.history = history or FakeHistory()
        self.broadcaster = Broadcaster(self.history, lambda _, body: UUID(json.loads(body)["of"]), **options)
        self.count = 0

    def keep(self, stream: Stream, user: UUID = ADA) -> StoredMessage:
        """Store an event that the reader has not received yet."""
        self.count += 1
        body = json.dumps({"of": str(user), "number": self.count}).encode()
        return self.history.keep(f"{stream.subjects[0].removesuffix('*')}happened", body)

    def happen(self, stream: Stream, user: UUID = ADA, times: int = 1) -> None:
        for _ in range(times):
            self.broadcaster.publish(self.keep(stream, user))

    def client(self, since: Position | None = None, user: UUID = ADA, seconds: float = 30) -> "Client":
        return Client(self.broadcaster.events(user, SESSION, since or self.broadcaster.position, seconds))


class Client:
    """Reads an event stream in the background."""

    def __init__(self, events: AsyncIterator[Item | None]) -> None:
        self.items: list[Item] = []
        self.pings = 0
        self.reading = asyncio.create_task(self._read(events))

    async def _read(self, events: AsyncIterator[Item | None]) -> None:
        async for item in events:
            if item is None:
                self.pings += 1
            else:
                self.items.append(item)

    @property
    def numbers(self) -> list[int]:
        return [json.loads(item.body)["number"] for item in self.items]

    async def reads(self, *numbers: int) -> None:
        await eventually(lambda: len(self.items) >= len(numbers), describe=lambda: self.numbers)
        assert self.numbers == list(numbers)

    async def end(self) -> None:
        await asyncio.wait_for(self.reading, 60)

    async def leave(self) -> None:
        await cancel_and_wait([self.reading])


@asynccontextmanager
async def started(history: FakeHistory | None = None, **options: Any) -> AsyncIterator[Streams]:
    streams = Streams(history, **options)
    await streams.broadcaster.start()
    yield streams
    streams.broadcaster.close()
