"""Subscribing one process to streams: every event in order, nothing stored on the server."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any

from faststream import AckPolicy, BaseMiddleware, ContextRepo
from faststream.exceptions import IncorrectState
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsRouter
from nats.aio.client import Client
from nats.aio.msg import Msg
from structlog.stdlib import get_logger

from contracts.streams import Stream, covers
from kit.asyncapi.handlers import Handled, messages_of
from kit.errors import NATS, Unavailable
from kit.messaging.demand import START_TIMEOUT, Demand
from kit.messaging.faststream_compat import replace_subscription
from kit.messaging.follower import CHECK_INTERVAL, Follower
from kit.messaging.reader import StoredMessage, sequence_of, stored_message
from kit.runtime.spans import nats_span
from kit.runtime.tasks import cancel_and_wait
from kit.runtime.tracing import Trace

log = get_logger(__name__)

Handler = Callable[..., Awaitable[None]]

BeforeHandler = Callable[[StoredMessage], bool]
"""Sees each event as it is stored, before it is validated; returns whether the handler is called for it."""
Refused = Callable[[StoredMessage], None]
"""Is called with what is stored on a subject of the stream and cannot be handled as its event."""


class StreamSubscription:
    """Feeds a subscriber of FastStream with what its stream republishes: always, or while there is a demand.

    The subscriber keeps the event's own subject: under that TestNatsBroker delivers to it in memory, where nothing is
    republished and every published event arrives.
    """

    def __init__(
        self,
        stream: Stream,
        subscriber: Any,
        *,
        since: datetime | None,
        before: BeforeHandler | None,
        refused: Refused | None,
        demand: Demand | None,
        up_to_date: Callable[[], None] | None,
        check_interval: float,
    ) -> None:
        self.stream = stream
        self._subscriber = subscriber
        self._since = since
        self._before = before
        self._refused = refused or (lambda _: None)
        self._demand = demand
        self._up_to_date = up_to_date
        self._check_interval = check_interval
        self._follower: Follower | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_memory_sequence = 0
        replace_subscription(subscriber, self.start)
        if demand is not None:
            demand.bind(self._demanded)

    async def start(self) -> None:
        """Begin to follow the stream; with a demand, only once there is one."""
        self._subscriber.subscription = self  # FastStream calls `unsubscribe` when it stops
        if self._demand is None:
            self._follow()

    async def wait_started(self, timeout: float = START_TIMEOUT) -> None:  # noqa: ASYNC109 - it goes on afterwards
        """Wait until every event from now on arrives, if it is subscribed, at most `timeout` seconds."""
        if self._follower is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._follower.started.wait()

    async def unsubscribe(self) -> None:
        """Stop following the stream."""
        self._subscriber.subscription = self._follower = None
        await cancel_and_wait(self._tasks)

    def wants(self, event: StoredMessage) -> bool:
        """Return whether the handler is called for an event."""
        if not event.original:
            log.error("copied message refused", stream=event.stream, subject=event.subject, sequence=event.sequence)
            self._refused(event)
            return False
        try:
            return self._before is None or self._before(event)
        except Exception:  # one bad event must not end the subscription
            log.exception("event skipped", subject=event.subject, sequence=event.sequence)
            self._refused(event)
            return False

    def in_memory(self, message: Msg) -> StoredMessage:
        """Return a message of TestNatsBroker as its stream would have stored it."""
        self._in_memory_sequence += 1
        return StoredMessage(self.stream.name, self._in_memory_sequence, message.subject, message.data)

    def _demanded(self) -> Follower | None:
        try:
            connection: object = self._subscriber.connection
        except IncorrectState:
            raise Unavailable(NATS) from None
        if not isinstance(connection, Client):
            return None  # TestNatsBroker
        if self._subscriber.subscription is not self:
            raise Unavailable(NATS)  # the broker has not started yet, or has stopped
        if self._follower is None and not connection.is_connected:
            raise Unavailable(NATS)
        follower: Follower | None = self._follower
        return follower or self._follow()

    def _follow(self) -> Follower:
        follower = self._follower = Follower(
            self._subscriber.jetstream,
            self.stream,
            self._receive,
            since=self._since,
            up_to_date=self._up_to_date,
            check_interval=self._check_interval,
        )
        task = asyncio.create_task(follower.run(self._is_over))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return follower

    def _is_over(self) -> bool:
        if self._demand is None or not self._demand.is_over():
            return False
        self._follower = None  # from here on, a demand starts another one
        return True

    async def _receive(self, message: Msg) -> None:
        stored = stored_message(self.stream, message)
        with nats_span("process", "CONSUMER", stored.subject, parent=Trace.of(message.headers)):
            if self.wants(stored):
                await self._subscriber.consume(message)


class EventMiddleware(BaseMiddleware[Any, Any]):
    """Logs an event whose handler failed, and continues with the next. In memory the error is raised."""

    def __init__(self, msg: Msg, /, *, context: ContextRepo, subscriptions: list[StreamSubscription]) -> None:
        super().__init__(msg, context=context)
        self._subscriptions = subscriptions

    async def consume_scope(self, call_next: Any, msg: StreamMessage[Msg]) -> Any:
        """Call the handler; in memory only for an event that `before` lets through, as on a server."""
        if sequence_of(self.msg) is None:
            for subscription in self._subscriptions:
                if any(covers(subject, self.msg.subject) for subject in subscription.stream.subjects):
                    return await call_next(msg) if subscription.wants(subscription.in_memory(self.msg)) else None
        return await call_next(msg)

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream's signature
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002 - same reason
    ) -> bool | None:
        """Log what the handler raised."""
        if not isinstance(exc_val, Exception) or sequence_of(self.msg) is None:
            return False
        log.error("event skipped: its handler failed", subject=self.msg.subject, exc_info=exc_val)
        return True


class EventRouter(NatsRouter):
    """A router for one process that subscribes to streams: every event, in order, and no position on the server.

    For state that lives in the process only, such as caches and waiters. A service that must not miss an event while it
    is down consumes it with a `DurableRouter`. The streams must republish their events. Every `check_interval` seconds
    a quiet stream is checked for a lost message.
    """

    def __init__(self, *, check_interval: float = CHECK_INTERVAL) -> None:
        self._subscriptions: list[StreamSubscription] = []
        super().__init__(middlewares=[partial(EventMiddleware, subscriptions=self._subscriptions)])
        self.handled: list[Handled] = []
        self._check_interval = check_interval

    def subscribe(
        self,
        stream: Stream,
        *,
        since: datetime | None = None,
        before: BeforeHandler | None = None,
        refused: Refused | None = None,
        demand: Demand | None = None,
        up_to_date: Callable[[], None] | None = None,
        documented: bool = True,
    ) -> Callable[[Handler], Handler]:
        """Register a handler for all events of a stream from now on, or since a time, without a gap.

        The annotation of its first parameter names the events: one class, or a union. `before` sees each event as it is
        stored, and decides whether it is validated and handled, which costs much more. `refused` is called with what
        is not handled since it was copied there, or since `before` has raised an error. With a `demand`, events arrive
        only while something needs them. `up_to_date` is called when everything that is stored was handled: at the
        start, and after each check of a quiet stream. Of the streams of several shards one is `documented`.
        """

        def register(handler: Handler) -> Handler:
            subscriber = self.subscriber(
                stream.subjects[0], stream=JStream(stream.name, declare=False), ack_policy=AckPolicy.MANUAL
            )
            subscription = StreamSubscription(
                stream,
                subscriber,
                since=since,
                before=before,
                refused=refused,
                demand=demand,
                up_to_date=up_to_date,
                check_interval=self._check_interval,
            )
            self._subscriptions.append(subscription)
            subscriber(handler)
            self.handled += [
                Handled("subscribes", event, handler, subscriber, documented=documented)
                for event in messages_of(handler)
            ]
            return handler

        return register
