"""The broadcaster: each event of a user once and in order, whenever its client connects or resumes."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from uuid import UUID, uuid4

import pytest

from apps.gateway.sse.history import Position
from apps.gateway.sse.replay import Item
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.errors import Unavailable
from kit.messaging.reader import StoredMessage
from mkstore.testing.fakes.history import FakeHistory
from tests.support.broadcast_clients import ADA, BOB, SESSION, Streams, started
from tests.support.polling import eventually


def ascending(items: list[Item]) -> bool:
    """Return whether no part of the position ever goes back."""
    return all(one.at.merged(next_.at) == next_.at != one.at for one, next_ in pairwise(items))


async def test_events_reach_their_owner_in_order() -> None:
    async with started() as streams:
        ada, other_tab, bob = streams.client(), streams.client(), streams.client(user=BOB)
        await asyncio.sleep(0)
        for stream, user in ((USER_EVENTS, ADA), (PAYMENT_EVENTS, BOB), (PAYMENT_EVENTS, ADA), (USER_EVENTS, ADA)):
            streams.happen(stream, user)
        await ada.reads(1, 3, 4)
        await other_tab.reads(1, 3, 4)
        await bob.reads(2)
        assert [str(item.at) for item in ada.items] == ["1-0", "1-2", "2-2"]
        assert [item.type for item in ada.items] == ["user.happened", "payment.happened", "user.happened"]


async def test_new_client_begins_with_the_next_event() -> None:
    async with started() as streams:
        streams.happen(USER_EVENTS, times=3)
        client = streams.client()
        await asyncio.sleep(0)
        streams.happen(PAYMENT_EVENTS)
        await client.reads(4)


async def test_event_right_after_the_first_position_is_sent() -> None:
    async with started() as streams:
        position = streams.broadcaster.position
        streams.happen(PAYMENT_EVENTS)
        await streams.client(position).reads(1)


async def test_resumed_client_gets_each_event_once() -> None:
    async with started() as streams:
        client = streams.client()
        await asyncio.sleep(0)
        streams.happen(USER_EVENTS)
        streams.happen(PAYMENT_EVENTS)
        await client.reads(1, 2)
        await client.leave()
        streams.happen(PAYMENT_EVENTS)
        streams.happen(PAYMENT_EVENTS, BOB)
        streams.happen(USER_EVENTS)
        back = streams.client(client.items[-1].at)
        await eventually(lambda: len(back.items) == 2)
        streams.happen(USER_EVENTS)
        await back.reads(5, 3, 6)  # in order within each stream
        assert ascending(back.items)


async def test_client_resumes_from_any_position() -> None:
    async with started() as streams:
        for number in range(12):
            streams.happen([USER_EVENTS, PAYMENT_EVENTS][number % 2], [ADA, BOB][number % 3 == 0])
        whole = streams.client(Position())
        await eventually(lambda: len(whole.items) == 8)
        for seen, item in enumerate(whole.items[:-1], start=1):
            rest = streams.client(item.at)
            await rest.reads(*whole.numbers[seen:])
            await rest.leave()


class SlowHistory(FakeHistory):
    """A history that yields only after `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.reading = asyncio.Event()

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        async for event in super().between(stream, after, to):
            self.reading.set()
            await self.go.wait()
            yield event


async def test_events_during_the_history_follow_it_once() -> None:
    history = SlowHistory()
    async with started(history) as streams:
        streams.happen(PAYMENT_EVENTS, times=2)
        client = streams.client(Position())
        await history.reading.wait()
        streams.happen(PAYMENT_EVENTS)
        streams.happen(USER_EVENTS)
        streams.happen(PAYMENT_EVENTS, BOB)
        history.go.set()
        await client.reads(1, 2, 3, 4)
        assert ascending(client.items)
        streams.happen(PAYMENT_EVENTS)
        await eventually(lambda: client.numbers == [1, 2, 3, 4, 6])


async def test_stored_event_that_is_not_read_yet_is_sent_once() -> None:
    async with started() as streams:
        streams.happen(PAYMENT_EVENTS)
        late = [streams.keep(PAYMENT_EVENTS) for _ in range(2)]  # not received by the reader yet
        client = streams.client(Position())
        await client.reads(1)
        for event in late:
            streams.broadcaster.publish(event)
        await client.reads(1, 2, 3)


async def test_client_from_a_faster_gateway_gets_no_event_twice() -> None:
    async with started() as streams:
        streams.happen(PAYMENT_EVENTS)
        late = [streams.keep(PAYMENT_EVENTS) for _ in range(2)]
        streams.keep(PAYMENT_EVENTS)
        client = streams.client(Position(0, 3))  # up to the late ones
        await eventually(lambda: streams.broadcaster.open_streams)
        streams.happen(USER_EVENTS)
        for event in late:
            streams.broadcaster.publish(event)
        streams.happen(USER_EVENTS)
        await client.reads(5, 6)
        assert [str(item.at) for item in client.items] == ["1-3", "2-3"]


async def test_client_of_a_lost_stream_gets_all_of_the_new_one() -> None:
    async with started() as streams:
        streams.happen(PAYMENT_EVENTS, times=2)
        await streams.client(Position(700, 900)).reads(1, 2)


async def test_old_events_at_the_start_are_not_sent_again() -> None:
    streams = Streams()
    past = [streams.keep(USER_EVENTS) for _ in range(3)]
    streams.broadcaster.publish(past[0])
    await streams.broadcaster.start()
    assert streams.broadcaster.position == Position(3, 0)
    client = streams.client()
    await asyncio.sleep(0)
    for event in past[1:]:
        streams.broadcaster.publish(event)
    assert streams.broadcaster.position == Position(3, 0)
    streams.happen(USER_EVENTS)
    await client.reads(4)
    streams.broadcaster.close()


async def test_clients_wait_until_the_position_is_known() -> None:
    streams = Streams(start_timeout=0.05)
    with pytest.raises(Unavailable):
        await streams.broadcaster.wait_started()
    await streams.broadcaster.start()
    await streams.broadcaster.wait_started()


async def test_slow_client_is_disconnected_and_resumes_without_a_gap() -> None:
    async with started(queue_limit=10) as streams:
        events = streams.broadcaster.events(ADA, SESSION, Position(), 30)
        streams.happen(PAYMENT_EVENTS)
        first = await anext(events)
        streams.happen(PAYMENT_EVENTS, times=50)
        rest = [item async for item in events]
        numbers = [json.loads(item.body)["number"] for item in [first, *rest] if item]
        assert numbers == list(range(1, 12))
        assert rest[-1]
        await streams.client(rest[-1].at).reads(*range(12, 52))


async def test_silent_stream_sends_pings() -> None:
    async with started(ping_interval=0.01) as streams:
        client = streams.client()
        await eventually(lambda: client.pings >= 2)
        streams.happen(PAYMENT_EVENTS)
        await client.reads(1)


async def test_stream_ends_after_its_lifetime() -> None:
    async with started() as streams:
        client = streams.client(seconds=0.05)
        await client.end()
        assert not streams.broadcaster.open_streams


async def test_disconnected_client_still_gets_its_queued_events() -> None:
    async with started() as streams:
        ada, bob = streams.client(), streams.client(user=BOB)
        await asyncio.sleep(0)
        streams.happen(USER_EVENTS)
        streams.broadcaster.disconnect(ADA, lambda session: session == SESSION)
        streams.happen(USER_EVENTS)
        await ada.end()
        assert ada.numbers == [1]
        streams.broadcaster.disconnect(uuid4(), lambda _: True)
        assert not bob.reading.done()


async def test_close_ends_all_streams_and_new_ones() -> None:
    async with started() as streams:
        clients = [streams.client(), streams.client(user=BOB)]
        await asyncio.sleep(0)
        streams.happen(USER_EVENTS)
        streams.broadcaster.close()
        late = streams.client(Position())
        for client in (*clients, late):
            await client.end()
        assert [client.numbers for client in (*clients, late)] == [[1], [], [1]]
        assert not streams.broadcaster.open_streams


async def test_ended_streams_leave_nothing() -> None:
    async with started() as streams:
        reading = [streams.client(), streams.client(), streams.client(Position())]
        await eventually(lambda: streams.broadcaster.open_streams == {ADA: 3})
        for client in reading:
            await client.leave()
        assert not streams.broadcaster.open_streams
        async with aclosing(streams.broadcaster.events(ADA, SESSION, Position(), 30)) as events:  # type: ignore[type-var]
            streams.happen(PAYMENT_EVENTS)
            await anext(events)
        assert not streams.broadcaster.open_streams


class UnavailableHistory(FakeHistory):
    """A history that fails after each event."""

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        async for event in super().between(stream, after, to):
            yield event
            raise Unavailable("message broker")


async def test_unreadable_history_ends_the_stream_for_a_resume() -> None:
    async with started(UnavailableHistory()) as streams:
        streams.happen(PAYMENT_EVENTS, times=3)
        client = streams.client(Position())
        await client.end()
        assert (client.numbers, streams.broadcaster.open_streams) == ([1], {})
        again = streams.client(client.items[-1].at)
        await again.end()
        assert again.numbers == [2]


async def test_thousand_clients_get_exactly_their_own_events_in_order() -> None:
    users = [UUID(int=number) for number in range(1, 1001)]
    async with started() as streams:
        clients = {user: streams.client(user=user) for user in users}
        await asyncio.sleep(0)
        own: dict[UUID, list[int]] = {user: [] for user in users}
        for number in range(1, 5001):
            owner = users[number * 7919 % 1250] if number * 7919 % 1250 < 1000 else UUID(int=number + 5000)
            streams.happen(PAYMENT_EVENTS, owner)
            own.get(owner, []).append(number)
        for user, client in clients.items():
            await client.reads(*own[user])
        assert sum(map(len, own.values())) == 4000


async def test_listening_begins_where_events_begin_to_arrive() -> None:
    """Events from before are not the client's, although no reader has passed them on."""

    @asynccontextmanager
    async def from_the_fifth() -> AsyncIterator[int]:
        yield 5

    async with started(needed=[from_the_fifth]) as streams, streams.broadcaster.listening() as position:
        assert position == Position(0, 5) == streams.broadcaster.position
