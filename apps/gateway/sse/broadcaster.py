"""The events of each user as they happen, and from where a client left off: one reader for all clients."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import NamedTuple
from uuid import UUID

from structlog.stdlib import get_logger

from apps.gateway.sse.history import History, Position, StoredEvent
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS
from kit.errors import NATS, Unavailable

log = get_logger(__name__)

_MOST = 1000
"""A client that is so many events behind is let go; it comes back with `Last-Event-ID` and misses nothing."""
_QUIET_SECONDS = 15.0
_START_SECONDS = 2.0

OwnerOf = Callable[[str, bytes], UUID | None]
"""Tells whose event it is, from its subject and body."""


class Item(NamedTuple):
    """One event for one client."""

    at: Position
    type: str
    body: bytes


class _Client:
    def __init__(self, at: Position) -> None:
        self.at = at
        self.queue: asyncio.Queue[Item | None] = asyncio.Queue()
        self.ended = False

    def give(self, event: StoredEvent, at: Position) -> None:
        if self.ended or self.at.moved(event.stream, event.sequence) == self.at:
            return  # it has read this one from the history
        self.at = self.at.joined(at)
        self.queue.put_nowait(Item(self.at, event.subject, event.body))
        if self.queue.qsize() >= _MOST:
            self.end()

    def end(self) -> None:
        """Let it go after what it has got: what it reads until then has no gap."""
        self.ended = True
        self.queue.put_nowait(None)


class Broadcaster:
    """Hands each event to the clients whose it is. Holds nothing for those who are away: the streams do."""

    def __init__(self, history: History, owner_of: OwnerOf) -> None:
        self._history = history
        self._owner_of = owner_of
        self._at = Position()
        self._clients: dict[UUID, set[_Client]] = defaultdict(set)
        self._closed = False
        self._started = asyncio.Event()

    async def start(self) -> None:
        """Learn where the streams are; the reader is subscribed by now, so that nothing lies between."""
        self._at = self._at.joined(await self._history.position())
        self._started.set()

    async def started(self) -> None:
        """Return once it knows where the streams are; raises `Unavailable` when it does not after two seconds.

        HTTP is served before that: who came back then would miss what happened while there was no reader.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._started.wait()
        except TimeoutError:
            raise Unavailable(NATS) from None

    def take(self, event: StoredEvent) -> None:
        """Hand on what the one reader read."""
        self._at = self._at.moved(event.stream, event.sequence)
        owner = self._owner_of(event.subject, event.body)
        for client in self._clients.get(owner, ()) if owner else ():
            client.give(event, self._at)

    def end(self, user: UUID) -> None:
        """Let go of a user's clients."""
        for client in self._clients.get(user, ()):
            client.end()

    def close(self) -> None:
        """Let go of everybody: the process ends."""
        self._closed = True
        for user in self._clients:
            self.end(user)

    @property
    def position(self) -> Position:
        """How far the streams are read."""
        return self._at

    async def events(self, user: UUID, since: Position, seconds: float) -> AsyncIterator[Item | None]:
        """Yield the user's events after `since` that the streams still keep, and then what happens.

        None says that nothing happened for a while. Ends after `seconds`, and when the client is let go.
        """
        ends = time.monotonic() + seconds
        try:
            since = await self._known(since)
        except Unavailable:
            return
        now = self._at
        client = _Client(now.joined(since))
        self._clients[user].add(client)  # first, so that nothing falls between the history and what comes
        if self._closed:
            client.end()
        try:
            async with aclosing(self._missed(user, since, now)) as missed:
                async for item in missed:
                    yield item
            while (left := ends - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(_QUIET_SECONDS, left)):
                        upcoming = await client.queue.get()
                except TimeoutError:
                    yield None
                    continue
                if upcoming is None:
                    return
                yield upcoming
        except Unavailable as error:
            log.warning("a client is let go: its past cannot be read", reason=str(error))
        finally:
            self._clients[user].discard(client)
            if not self._clients[user]:
                del self._clients[user]

    async def _known(self, since: Position) -> Position:
        """Return `since`, where it is one of these streams' and not of others that are lost: then all here is new."""
        if since.joined(self._at) == self._at:
            return since
        last = await self._history.position()  # another gateway may have read further than this one
        return Position(*(mine if mine <= end else 0 for mine, end in zip(since, last, strict=True)))

    async def _missed(self, user: UUID, since: Position, now: Position) -> AsyncGenerator[Item, None]:
        at = since
        for stream, after, to in (
            (USER_EVENTS, since.users, now.users),
            (PAYMENT_EVENTS, since.payments, now.payments),
        ):
            async with aclosing(self._history.between(stream, after, to)) as kept:
                async for event in kept:
                    at = at.moved(event.stream, event.sequence)
                    if self._owner_of(event.subject, event.body) == user:
                        yield Item(at, event.subject, event.body)
            at = at.moved(stream.name, to)
