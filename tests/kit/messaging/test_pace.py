"""Calls of a handler of batches are paced: messages that arrive at short intervals share a call."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from kit.inbox import InboxKey
from kit.messaging.batches import FULL_CALL, BatchHandler, Received
from kit.runtime.tracing import Trace

NEVER = 3600.0


class Dependencies:
    """Dependencies of a handler that has none."""


class Handler:
    """Notes the size of each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def __call__(self, items: Sequence[Received[int]]) -> None:
        self.calls.append(len(items))


def handler_of(notes: Handler, pace: float) -> BatchHandler:
    async def handle(items: Sequence[Received[int]]) -> None:
        await notes(items)

    return BatchHandler(handle, in_flight=2, pace=pace)


def items(number: int) -> list[Received[int]]:
    return [Received(each, Trace(), InboxKey("tests", str(uuid4()))) for each in range(number)]


async def test_messages_at_short_intervals_share_a_call() -> None:
    notes, dependencies = Handler(), Dependencies()
    handler = handler_of(notes, pace=0.3)
    assert await handler.handle(items(3), dependencies) == [None] * 3
    later = []
    for _ in range(5):
        later.append(asyncio.create_task(handler.handle(items(2), dependencies)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*later) == [[None] * 2] * 5
    assert notes.calls == [3, 10]


async def test_full_call_is_followed_without_a_pause() -> None:
    notes, dependencies = Handler(), Dependencies()
    handler = handler_of(notes, pace=NEVER)
    await handler.handle(items(FULL_CALL), dependencies)
    await handler.handle(items(1), dependencies)
    assert notes.calls == [FULL_CALL, 1]


async def test_call_with_all_messages_of_a_pull_is_followed_without_a_pause() -> None:
    notes, dependencies = Handler(), Dependencies()
    handler = handler_of(notes, pace=NEVER)
    await asyncio.gather(*(handler.handle(items(1), dependencies, 0.25) for _ in range(4)))
    await handler.handle(items(1), dependencies, 0.25)
    assert notes.calls == [4, 1]


async def test_call_that_is_not_full_is_followed_by_a_pause() -> None:
    notes, dependencies = Handler(), Dependencies()
    handler = handler_of(notes, pace=0.3)
    await handler.handle(items(FULL_CALL - 1), dependencies)
    waiting = asyncio.create_task(handler.handle(items(1), dependencies))
    for _ in range(20):
        await asyncio.sleep(0)
    assert notes.calls == [FULL_CALL - 1]
    await waiting
    assert notes.calls == [FULL_CALL - 1, 1]
