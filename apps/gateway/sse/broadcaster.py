"""The event stream of each user: one reader of the streams feeds all clients; a client resumes where it stopped."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from uuid import UUID

from structlog.stdlib import get_logger

from apps.gateway.sse.history import History, Position
from apps.gateway.sse.replay import Item, OwnerOf, Replays
from contracts.shards import contract_subject
from kit.errors import NATS, Unavailable
from kit.messaging.demand import Needed, always
from kit.messaging.reader import StoredMessage
from kit.runtime.spans import span

log = get_logger(__name__)

HasEnded = Callable[[UUID, UUID], bool]
"""Returns whether a user's session has ended."""


class _Subscriber:
    def __init__(self, session: UUID, at: Position, queue_limit: int) -> None:
        self.session = session
        self.at = at
        self.queue: asyncio.Queue[Item | None] = asyncio.Queue()
        self._queue_limit = queue_limit
        self._disconnected = False

    def enqueue(self, event: StoredMessage, at: Position) -> None:
        if self._disconnected or self.at.advanced(event.stream, event.sequence) == self.at:
            return  # it has read this event from the history
        self.at = self.at.merged(at)
        self.queue.put_nowait(Item(self.at, contract_subject(event.subject), event.body))
        if self.queue.qsize() >= self._queue_limit:
            self.disconnect()

    def disconnect(self) -> None:
        """End the stream after the events that are queued: what the client has read then has no gap."""
        self._disconnected = True
        self.queue.put_nowait(None)


class Broadcaster:
    """Passes each event to the clients of its owner; it stores nothing for absent clients, the streams do.

    A client that is `queue_limit` events behind is disconnected; it resumes with `Last-Event-ID` and misses nothing.
    `ping_interval` and `start_timeout` are in seconds; each `needed` lets the events of a shard arrive. A client that
    resumes more than `max_replayed` stored events ago gets a `reset` instead of them.
    """

    def __init__(
        self,
        history: History,
        owner_of: OwnerOf,
        *,
        queue_limit: int = 1000,
        ping_interval: float = 15.0,
        start_timeout: float = 2.0,
        needed: Sequence[Needed] = (always,),
        has_ended: HasEnded = lambda _user, _session: False,
        max_replayed: int = 10_000,
    ) -> None:
        self._history = history
        self._owner_of = owner_of
        self._queue_limit = queue_limit
        self._ping_interval = ping_interval
        self._start_timeout = start_timeout
        self._needed = needed
        self._has_ended = has_ended
        self._replays = Replays(history, owner_of, max_events=max_replayed)
        self._position = Position()
        self._subscribers: dict[UUID, set[_Subscriber]] = defaultdict(set)
        self._closed = False
        self._started = asyncio.Event()

    async def start(self) -> None:
        """Read the position of the streams; the reader is subscribed before, so that no event is missed."""
        self._position = self._position.merged(await self._history.position())
        self._started.set()

    async def wait_started(self) -> None:
        """Wait until `start` is done: a client that resumes earlier would miss events.

        Raises `Unavailable` after `start_timeout`.
        """
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._started.wait()
        except TimeoutError:
            raise Unavailable(NATS) from None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Position]:
        """Receive every event until the end of the block, at least those after the position that this yields.

        Raises `Unavailable` if NATS does not answer.
        """
        async with AsyncExitStack() as stack:
            for stream, needed in zip(self._history.streams[1:], self._needed, strict=True):
                sequence = await stack.enter_async_context(needed())
                self._position = self._position.advanced(stream.name, sequence)
            yield self._position

    def publish(self, event: StoredMessage) -> None:
        """Pass an event on to the clients of its owner."""
        self._position = self._position.advanced(event.stream, event.sequence)
        if not self._subscribers:
            return
        owner = self._owner_of(event.subject, event.body)
        if subscribers := self._subscribers.get(owner) if owner else None:
            with span(f"event stream {event.subject}", "PRODUCER", {"mkstore.clients": len(subscribers)}):
                for subscriber in subscribers:
                    subscriber.enqueue(event, self._position)

    def disconnect(self, user: UUID, has_ended: Callable[[UUID], bool]) -> None:
        """End the streams of those sessions of a user that have ended."""
        for subscriber in self._subscribers.get(user, ()):
            if has_ended(subscriber.session):
                subscriber.disconnect()

    def close(self) -> None:
        """End all streams, also those that begin later: the process stops."""
        self._closed = True
        for user in self._subscribers:
            self.disconnect(user, lambda _: True)

    @property
    def position(self) -> Position:
        """The position of the reader in the streams."""
        return self._position

    @property
    def open_streams(self) -> Mapping[UUID, int]:
        """The number of open streams of each user who has one."""
        return {user: len(subscribers) for user, subscribers in self._subscribers.items()}

    async def events(self, user: UUID, session: UUID, since: Position, seconds: float) -> AsyncIterator[Item | None]:
        """Yield the user's stored events after `since`, then each new one, and None after a silent `ping_interval`.

        Used inside `listening`. Ends after `seconds`, and when the client is disconnected, such as with its session.
        """
        ends = time.monotonic() + seconds
        try:
            since = await self._valid(since)
        except Unavailable:
            return
        now = self._position
        subscriber = _Subscriber(session, now.merged(since), self._queue_limit)
        self._subscribers[user].add(subscriber)  # before the history is read, so that there is no gap between the two
        if self._closed:
            subscriber.disconnect()
        try:
            async with aclosing(self._replayed(user, session, since, now)) as missed:
                async for item in missed:
                    yield item
            if self._has_ended(user, session):  # before it was in `_subscribers`, or during the replay
                return
            while (left := ends - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(self._ping_interval, left)):
                        upcoming = await subscriber.queue.get()
                except TimeoutError:
                    yield None
                    continue
                if upcoming is None:
                    return
                yield upcoming
        except Unavailable as error:
            log.warning("event stream disconnected: its history cannot be read", reason=str(error))
        finally:
            self._subscribers[user].discard(subscriber)
            if not self._subscribers[user]:
                del self._subscribers[user]

    async def _replayed(self, user: UUID, session: UUID, since: Position, now: Position) -> AsyncGenerator[Item, None]:
        """Yield the stored events until the session ends."""
        async with aclosing(self._replays.missed(user, since, now)) as missed:
            async for item in missed:
                if self._has_ended(user, session):
                    return
                yield item

    async def _valid(self, since: Position) -> Position:
        """Return `since`, with 0 for a stream that was created anew: all events of that are new to the client."""
        if since.merged(self._position) == self._position:
            return since
        last = await self._history.position()  # another gateway may have read further than this one
        return Position(*(own if own <= end else 0 for own, end in zip(since, last, strict=True)))
