"""The feed: every event of a user once and in order, whenever its client comes and wherever it left off."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import pairwise
from uuid import uuid4

import pytest

from apps.gateway.sse import broadcaster as feeds
from apps.gateway.sse.broadcaster import Item
from apps.gateway.sse.history import Position, StoredEvent
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.errors import Unavailable
from tests.support.broadcast_clients import ADA, BOB, Streams, started
from tests.support.gateway_fakes import FakeHistory
from tests.support.polling import eventually


def ascending(items: list[Item]) -> bool:
    """Tell whether no part of the position ever goes back."""
    return all(one.at.joined(next_.at) == next_.at != one.at for one, next_ in pairwise(items))


async def test_events_come_to_those_whose_they_are_in_order() -> None:
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


async def test_without_a_place_one_begins_now() -> None:
    async with started() as streams:
        streams.happen(USER_EVENTS, times=3)
        client = streams.client()
        await asyncio.sleep(0)
        streams.happen(PAYMENT_EVENTS)
        await client.reads(4)


async def test_what_happens_between_the_first_word_and_the_first_look_is_not_lost() -> None:
    async with started() as streams:
        told = streams.feed.position
        streams.happen(PAYMENT_EVENTS)
        await streams.client(told).reads(1)


async def test_who_comes_back_misses_nothing_and_sees_nothing_twice() -> None:
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
        await back.reads(5, 3, 6)  # those of one stream in order
        assert ascending(back.items)


async def test_from_whatever_place_the_rest_comes_once() -> None:
    async with started() as streams:
        for number in range(12):
            streams.happen([USER_EVENTS, PAYMENT_EVENTS][number % 2], [ADA, BOB][number % 3 == 0])
        whole = streams.client(Position())
        await eventually(lambda: len(whole.items) == 8)
        for seen, item in enumerate(whole.items[:-1], start=1):
            rest = streams.client(item.at)
            await rest.reads(*whole.numbers[seen:])
            await rest.leave()


class Slow(FakeHistory):
    """A history that is read as slowly as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.reading = asyncio.Event()

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredEvent, None]:
        async for event in super().between(stream, after, to):
            self.reading.set()
            await self.go.wait()
            yield event


async def test_what_happens_while_the_past_is_read_comes_after_it_once() -> None:
    async with started() as streams:
        streams.history = streams.feed._history = Slow()
        streams.happen(PAYMENT_EVENTS, times=2)
        client = streams.client(Position())
        await streams.history.reading.wait()
        streams.happen(PAYMENT_EVENTS)
        streams.happen(USER_EVENTS)
        streams.happen(PAYMENT_EVENTS, BOB)
        streams.history.go.set()
        await client.reads(1, 2, 3, 4)
        assert ascending(client.items)
        streams.happen(PAYMENT_EVENTS)
        await eventually(lambda: client.numbers == [1, 2, 3, 4, 6])


async def test_what_is_in_the_stream_and_not_read_yet_comes_once() -> None:
    async with started() as streams:
        streams.happen(PAYMENT_EVENTS)
        late = [streams.keep(PAYMENT_EVENTS) for _ in range(2)]  # the reader has not got them yet
        client = streams.client(Position())
        await client.reads(1)
        for event in late:
            streams.feed.take(event)
        await client.reads(1, 2, 3)


async def test_who_has_read_further_at_another_gateway_sees_nothing_twice() -> None:
    async with started() as streams:
        streams.happen(PAYMENT_EVENTS)
        late = [streams.keep(PAYMENT_EVENTS) for _ in range(2)]
        streams.keep(PAYMENT_EVENTS)
        client = streams.client(Position(0, 3))  # as far as the late ones
        await eventually(lambda: streams.feed._clients)
        streams.happen(USER_EVENTS)
        for event in late:
            streams.feed.take(event)
        streams.happen(USER_EVENTS)
        await client.reads(5, 6)
        assert [str(item.at) for item in client.items] == ["1-3", "2-3"]


async def test_who_comes_from_streams_that_are_lost_sees_all_that_is_in_the_new_ones() -> None:
    async with started() as streams:
        streams.happen(PAYMENT_EVENTS, times=2)
        await streams.client(Position(700, 900)).reads(1, 2)


async def test_at_its_start_the_reader_may_still_be_in_the_past() -> None:
    streams = Streams()
    past = [streams.keep(USER_EVENTS) for _ in range(3)]
    streams.feed.take(past[0])
    await streams.feed.start()
    assert streams.feed.position == Position(3, 0)
    client = streams.client()
    await asyncio.sleep(0)
    for event in past[1:]:
        streams.feed.take(event)
    assert streams.feed.position == Position(3, 0)
    streams.happen(USER_EVENTS)
    await client.reads(4)
    streams.feed.close()


async def test_nobody_comes_before_the_reader_knows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_START_SECONDS", 0.05)
    streams = Streams()
    with pytest.raises(Unavailable):
        await streams.feed.started()
    await streams.feed.start()
    await streams.feed.started()


async def test_a_client_that_does_not_keep_up_is_let_go_and_has_no_gap_when_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "_MOST", 10)
    async with started() as streams:
        events = streams.feed.events(ADA, Position(), 30)
        streams.happen(PAYMENT_EVENTS)
        first = await anext(events)
        streams.happen(PAYMENT_EVENTS, times=50)
        got = [item async for item in events]
        numbers = [json.loads(item.body)["number"] for item in [first, *got] if item]
        assert numbers == list(range(1, 12))
        assert got[-1]
        await streams.client(got[-1].at).reads(*range(12, 52))


async def test_a_quiet_time_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_QUIET_SECONDS", 0.01)
    async with started() as streams:
        client = streams.client()
        await eventually(lambda: client.quiet >= 2)
        streams.happen(PAYMENT_EVENTS)
        await client.reads(1)


async def test_it_ends_in_time() -> None:
    async with started() as streams:
        client = streams.client(seconds=0.05)
        await client.end()
        assert not streams.feed._clients


async def test_who_is_let_go_reads_to_the_end_first() -> None:
    async with started() as streams:
        ada, bob = streams.client(), streams.client(user=BOB)
        await asyncio.sleep(0)
        streams.happen(USER_EVENTS)
        streams.feed.end(ADA)
        streams.happen(USER_EVENTS)
        await ada.end()
        assert ada.numbers == [1]
        streams.feed.end(uuid4())
        assert not bob.reading.done()


async def test_everybody_is_let_go_when_the_process_ends_and_who_comes_then_too() -> None:
    async with started() as streams:
        clients = [streams.client(), streams.client(user=BOB)]
        await asyncio.sleep(0)
        streams.happen(USER_EVENTS)
        streams.feed.close()
        late = streams.client(Position())
        for client in (*clients, late):
            await client.end()
        assert [client.numbers for client in (*clients, late)] == [[1], [], [1]]
        assert not streams.feed._clients


async def test_nothing_is_kept_of_who_has_left() -> None:
    async with started() as streams:
        reading = [streams.client(), streams.client(), streams.client(Position())]
        await eventually(lambda: len(streams.feed._clients[ADA]) == 3)
        for client in reading:
            await client.leave()
        assert not streams.feed._clients
        async with aclosing(streams.feed.events(ADA, Position(), 30)) as events:  # type: ignore[type-var]
            streams.happen(PAYMENT_EVENTS)
            await anext(events)
        assert not streams.feed._clients


class Away(FakeHistory):
    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredEvent, None]:
        async for event in super().between(stream, after, to):
            yield event
            raise Unavailable("message broker")


async def test_who_asks_for_a_past_that_cannot_be_read_is_let_go_and_comes_again() -> None:
    async with started() as streams:
        streams.history = streams.feed._history = Away()
        streams.happen(PAYMENT_EVENTS, times=3)
        client = streams.client(Position())
        await client.end()
        assert (client.numbers, dict(streams.feed._clients)) == ([1], {})
        again = streams.client(client.items[-1].at)
        await again.end()
        assert again.numbers == [2]
