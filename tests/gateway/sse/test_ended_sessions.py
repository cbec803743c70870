"""Event streams of sessions that end before the stream is live."""

from contextlib import aclosing
from uuid import UUID

from apps.gateway.sse.history import Position
from contracts.streams import USER_EVENTS
from tests.support.broadcast_clients import ADA, BOB, SESSION, started


async def test_session_that_ended_before_the_stream_gets_nothing() -> None:
    ended = {(ADA, SESSION)}
    async with started(has_ended=lambda user, session: (user, session) in ended) as streams:
        streams.happen(USER_EVENTS)
        ada, bob = streams.client(Position()), streams.client(Position(), BOB)
        await ada.end()
        assert (ada.numbers, streams.broadcaster.open_streams) == ([], {BOB: 1})
        await bob.leave()


async def test_session_that_ends_during_the_history_gets_no_more_of_it() -> None:
    ended = set[tuple[UUID, UUID]]()
    async with started(has_ended=lambda user, session: (user, session) in ended) as streams:
        streams.happen(USER_EVENTS, times=3)
        async with aclosing(streams.broadcaster.events(ADA, SESSION, Position(), 30)) as events:  # type: ignore[type-var]
            await anext(events)
            ended.add((ADA, SESSION))
            assert [item async for item in events] == []
