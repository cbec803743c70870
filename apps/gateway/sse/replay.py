"""The events that a client missed, read from the streams in turns and up to a bound, see docs/adr/0028."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

from apps.gateway.sse.history import History, Position
from contracts.shards import contract_subject
from contracts.streams import Stream
from kit.errors import Unavailable

OwnerOf = Callable[[str, bytes], UUID | None]
"""Returns the user that an event belongs to, from its subject and body."""

RESET = "reset"
"""Event that tells a client that events were left out."""
_RESET_BODY = b'{"detail": "Events were left out. Read the resources again."}'
_PAGE = 1000
"""Stored events that one replay reads before it lets the others take their turn: about 40 ms of processor time."""


class Item(NamedTuple):
    """One event for one client."""

    at: Position
    type: str
    body: bytes


class Replays:
    """Replays stored events to clients that resume: of each user one at a time, of all users `concurrent` at a time.

    The streams hold every user's events, so a replay reads those of all. One above `max_events`, or longer than
    `timeout` seconds, ends with a `reset`. `clock` is monotonic.
    """

    def __init__(
        self,
        history: History,
        owner_of: OwnerOf,
        *,
        max_events: int = 10_000,
        timeout: float = 30.0,
        concurrent: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._owner_of = owner_of
        self._max_events = max_events
        self._timeout = timeout
        self._clock = clock
        self._turns = asyncio.Semaphore(concurrent)
        self._users: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def missed(self, user: UUID, since: Position, now: Position) -> AsyncGenerator[Item, None]:
        """Yield the user's events after `since` up to `now`, or a `reset` in place of what is above the bounds.

        Raises `Unavailable` if the history cannot be read.
        """
        ranges = tuple(zip(self._history.streams, since, now, strict=False))
        stored = sum(max(0, to - after) for _, after, to in ranges)
        if not stored:
            return
        if stored > self._max_events:
            yield Item(now.merged(since), RESET, _RESET_BODY)
            return
        lock = self._users.setdefault(user, asyncio.Lock())
        async with lock:
            ends, at = self._clock() + self._timeout, since
            for stream, after, to in ranges:
                for start in range(after, to, _PAGE):
                    if self._clock() > ends:
                        yield Item(now.merged(since), RESET, _RESET_BODY)
                        return
                    items, at, failure = await self._page(user, stream, start, min(start + _PAGE, to), at)
                    for item in items:
                        yield item
                    if failure:
                        raise failure
                at = at.advanced(stream.name, to)

    async def _page(
        self, user: UUID, stream: Stream, after: int, to: int, at: Position
    ) -> tuple[list[Item], Position, Unavailable | None]:
        """Return the user's events of a range, also if the history fails in the middle of it.

        They are collected: a client that does not read must not keep the turn.
        """
        items = []
        try:
            async with self._turns, aclosing(self._history.between(stream, after, to)) as stored:
                async for event in stored:
                    at = at.advanced(event.stream, event.sequence)
                    if self._owner_of(event.subject, event.body) == user:
                        items.append(Item(at, contract_subject(event.subject), event.body))
        except Unavailable as error:
            return items, at, error
        return items, at, None
