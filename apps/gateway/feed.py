"""The events of each user as they happen, and from where a client left off: one reader for all clients."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, Protocol
from uuid import UUID

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from structlog.stdlib import get_logger

from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream

log = get_logger(__name__)

_QUEUE = 1000
"""A client that is so many events behind is let go; it comes back with `Last-Event-ID` and misses nothing."""
_HISTORY_SECONDS = 5.0


class Position(NamedTuple):
    """How far both event streams were read: their sequence numbers. The id of an event, as `<users>-<payments>`."""

    users: int = 0
    payments: int = 0

    def __str__(self) -> str:
        return f"{self.users}-{self.payments}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read an id; raises `ValueError` for what is none."""
        users, payments = text.split("-")
        if not (users.isascii() and users.isdigit() and payments.isascii() and payments.isdigit()):
            raise ValueError(text)
        return cls(int(users), int(payments))

    def moved(self, stream: str, sequence: int) -> "Position":
        """Return the position after `sequence` of one stream."""
        if stream == USER_EVENTS.name:
            return Position(max(self.users, sequence), self.payments)
        return Position(self.users, max(self.payments, sequence))


class Item(NamedTuple):
    """One event for one client."""

    at: Position
    type: str
    body: bytes


class StoredEvent(NamedTuple):
    """One event as a stream keeps it."""

    stream: str
    sequence: int
    subject: str
    body: bytes


OwnerOf = Callable[[str, bytes], UUID | None]
"""Tells whose event it is, from its subject and body."""


class History(Protocol):
    """What the streams keep."""

    async def position(self) -> Position:
        """Return the last sequence numbers."""

    def between(self, stream: Stream, after: int, to: int) -> AsyncIterator[StoredEvent]:
        """Read the events of one stream from `after`, exclusive, to `to`, inclusive."""


class StreamedHistory:
    """The history as JetStream keeps it."""

    def __init__(self, jetstream: Callable[[], JetStreamContext]) -> None:
        self._jetstream = jetstream

    async def position(self) -> Position:
        """Ask both streams for their last sequence numbers."""
        users, payments = await asyncio.gather(
            *(self._jetstream().stream_info(stream.name) for stream in (USER_EVENTS, PAYMENT_EVENTS))
        )
        return Position(users.state.last_seq, payments.state.last_seq)

    async def between(self, stream: Stream, after: int, to: int) -> AsyncIterator[StoredEvent]:
        """Read with a consumer of its own that is gone afterwards."""
        if after >= to:
            return
        reader = await self._jetstream().subscribe(
            stream.subjects[0],
            stream=stream.name,
            ordered_consumer=True,
            config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=after + 1),
        )
        try:
            if not (await reader.consumer_info()).num_pending and not reader.pending_msgs:
                return
            while True:
                message: Msg = await reader.next_msg(timeout=_HISTORY_SECONDS)
                sequence = message.metadata.sequence.stream
                if sequence <= to:
                    yield StoredEvent(stream.name, sequence, message.subject, message.data)
                if sequence >= to or message.metadata.num_pending == 0:
                    return
        finally:
            await reader.unsubscribe()


class _Client:
    def __init__(self, at: Position) -> None:
        self.at = at
        self.queue: asyncio.Queue[Item | None] = asyncio.Queue(_QUEUE)

    def give(self, stream: str, sequence: int, item: Item) -> None:
        if self.at.moved(stream, sequence) == self.at:
            return  # it has read this one from the history
        self.at = item.at
        if self.queue.full():
            self.end()
        else:
            self.queue.put_nowait(item)

    def end(self) -> None:
        while self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Feed:
    """Hands each event to the clients whose it is. Holds nothing for those who are away: the streams do."""

    def __init__(self, history: History, owner_of: OwnerOf) -> None:
        self._history = history
        self._owner_of = owner_of
        self._at = Position()
        self._clients: dict[UUID, set[_Client]] = defaultdict(set)
        self._closed = False

    async def start(self) -> None:
        """Learn where the streams are; the reader is subscribed by now, so that nothing lies between."""
        for number, stream in zip(await self._history.position(), (USER_EVENTS, PAYMENT_EVENTS), strict=True):
            self._at = self._at.moved(stream.name, number)

    def take(self, event: StoredEvent) -> None:
        """Hand on what the one reader read."""
        self._at = self._at.moved(event.stream, event.sequence)
        owner = self._owner_of(event.subject, event.body)
        for client in tuple(self._clients.get(owner, ())) if owner else ():
            client.give(event.stream, event.sequence, Item(self._at, event.subject, event.body))

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

    async def events(self, user: UUID, since: Position | None) -> AsyncIterator[Item]:
        """Yield the user's events from now on, or all after `since` that the streams still keep; ends when let go."""
        now = self._at
        client = _Client(now)
        self._clients[user].add(client)  # first, so that nothing falls between the history and what comes
        if self._closed:
            client.end()
        try:
            if since is not None:
                async for item in self._missed(user, since, now):
                    yield item
            while (item_or_end := await client.queue.get()) is not None:
                yield item_or_end
        finally:
            self._clients[user].discard(client)
            if not self._clients[user]:
                del self._clients[user]

    async def _missed(self, user: UUID, since: Position, now: Position) -> AsyncIterator[Item]:
        at = since
        for stream, after, to in (
            (USER_EVENTS, since.users, now.users),
            (PAYMENT_EVENTS, since.payments, now.payments),
        ):
            async for event in self._history.between(stream, after, to):
                at = at.moved(event.stream, event.sequence)
                if self._owner_of(event.subject, event.body) == user:
                    yield Item(at, event.subject, event.body)
            at = at.moved(stream.name, to)
