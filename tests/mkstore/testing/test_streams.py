"""The streams of a store in memory keep and lose messages as JetStream does."""

import pytest

from contracts.headers import MESSAGE_ID
from contracts.keys import PublicKeys
from contracts.streams import PAYMENT_COMMANDS, PUBLIC_KEYS, USER_EVENTS
from mkstore.testing import MemoryStore, MovableClock
from mkstore.testing.streams import MemoryStreams

EVENT = ("user.created", b"{}", {MESSAGE_ID: "1"})


async def test_message_id_is_stored_once_within_the_duplicate_window() -> None:
    clock = MovableClock()
    streams = MemoryStreams(clock)
    first = await streams.publish(*EVENT)
    assert await streams.publish(*EVENT) is first
    clock.advance(USER_EVENTS.duplicate_window)
    assert (await streams.publish(*EVENT)).sequence == 2


async def test_old_messages_are_lost() -> None:
    clock = MovableClock()
    streams = MemoryStreams(clock)
    await streams.publish(*EVENT)
    assert USER_EVENTS.max_age is not None
    clock.advance(USER_EVENTS.max_age)
    assert (list(streams.messages(USER_EVENTS)), streams.last_sequence(USER_EVENTS)) == ([], 1)


async def test_compacted_stream_keeps_the_last_message_of_a_subject() -> None:
    streams = MemoryStreams(MovableClock())
    for body in (b"1", b"2"):
        await streams.publish(PublicKeys.subject, body, {})
    assert [stored.body for stored in streams.messages(PUBLIC_KEYS)] == [b"2"]


async def test_work_queue_loses_what_is_acknowledged(store: MemoryStore) -> None:
    ada = await store.sign_up()
    with store.held("payments"):
        await ada.pay()
        assert len(store.streams.messages(PAYMENT_COMMANDS)) == 1
    await store.settled()
    assert list(store.streams.messages(PAYMENT_COMMANDS)) == []


async def test_subject_without_a_stream_is_refused() -> None:
    with pytest.raises(KeyError, match=r"no stream keeps weather\.changed"):
        await MemoryStreams(MovableClock()).publish("weather.changed", b"{}", {})
