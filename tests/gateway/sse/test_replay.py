"""Bounds of a replay: events, time, one per user at once, and turns for all of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from uuid import UUID

from apps.gateway.sse.history import Position
from apps.gateway.sse.replay import RESET, Item, Replays
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.messaging.reader import StoredMessage
from mkstore.testing.fakes.history import FakeHistory
from tests.support.broadcast_clients import ADA, BOB, started
from tests.support.clock import Clock
from tests.support.polling import eventually


class CountingHistory(FakeHistory):
    """A history that counts its readers, and holds them until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.readers = 0
        self.read = 0

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        self.readers += 1
        await self.go.wait()
        async for event in super().between(stream, after, to):
            self.read += 1
            yield event
        self.readers -= 1


def owner_of(_: str, body: bytes) -> UUID:
    return UUID(body.decode())


async def missed(replays: Replays, user: UUID, until: Position) -> list[Item]:
    return [item async for item in replays.missed(user, Position(), until)]


async def test_replay_above_the_bound_reads_nothing_and_resets() -> None:
    history = CountingHistory()
    async with started(history, max_replayed=10) as streams:
        streams.happen(USER_EVENTS, times=5)
        streams.happen(PAYMENT_EVENTS, times=6)
        client = streams.client(Position())
        await eventually(lambda: client.items)
        [reset] = client.items
        assert (reset.type, reset.at) == (RESET, Position(5, 6))
        assert history.read == 0
        history.go.set()
        streams.happen(PAYMENT_EVENTS)
        await eventually(lambda: len(client.items) == 2)
        resumed = streams.client(reset.at)
        await resumed.reads(12)


async def test_position_beyond_the_streams_is_bounded_too() -> None:
    async with started(max_replayed=10) as streams:
        streams.happen(PAYMENT_EVENTS, times=11)
        client = streams.client(Position(10**9, 10**9))
        await eventually(lambda: client.items)
        assert [item.type for item in client.items] == [RESET]


async def test_slow_replay_ends_with_a_reset() -> None:
    history, clock = FakeHistory(), Clock()
    for _ in range(2500):
        history.keep("payment.happened", str(ADA).encode())
    replays = Replays(history, owner_of, timeout=10.0, clock=clock)
    items = []
    async for item in replays.missed(ADA, Position(), Position(0, 2500)):
        items.append(item)
        clock.now += 0.02
    assert len(items) == 1001
    assert (items[-1].type, items[-1].at) == (RESET, Position(0, 2500))


async def test_replays_take_turns() -> None:
    history = CountingHistory()
    users = [ADA, ADA, BOB, UUID(int=3)]
    for user in users:
        history.keep("payment.happened", str(user).encode())
    replays = Replays(history, owner_of, concurrent=2)
    reading = [asyncio.create_task(missed(replays, user, Position(0, 4))) for user in users]
    await eventually(lambda: history.readers == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert history.readers == 2
    history.go.set()
    found = [len(await task) for task in reading]
    assert found == [Counter(users)[user] for user in users]


async def test_one_user_has_one_replay_at_once() -> None:
    history = CountingHistory()
    history.keep("payment.happened", str(ADA).encode())
    replays = Replays(history, owner_of, concurrent=5)
    reading = [asyncio.create_task(missed(replays, ADA, Position(0, 1))) for _ in range(4)]
    await eventually(lambda: history.readers == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert history.readers == 1
    history.go.set()
    assert [len(await task) for task in reading] == [1] * 4
