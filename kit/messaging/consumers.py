"""Taking durable messages from a stream: acks, retries and dead letters, written once."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any

from faststream import AckPolicy, BaseMiddleware, ContextRepo
from faststream.nats import JStream, NatsRouter, PullSub
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NotJSMessageError
from nats.js.api import ConsumerConfig, DeliverPolicy
from structlog.stdlib import get_logger

from contracts.base import Command, Event
from contracts.streams import DEAD, Stream
from kit.messaging.broker import inbox_prefix
from kit.messaging.pull import BATCH, pull
from kit.messaging.retry import RetryPolicy, is_away
from kit.runtime import tracing
from kit.runtime.failpoints import AFTER_ACK, AFTER_DEAD_LETTER, BEFORE_ACK, BEFORE_DEAD_LETTER, failpoint

log = get_logger(__name__)

ACK_WAIT = 10.0
"""Seconds after which a message is given to another consumer: the one that had it is dead."""
_HEARTBEAT = 1.0
"""Seconds; after two without one an ordered consumer is made anew."""

RETRY_POLICY = "retry_policy"
"""The key in FastStream's context of the process's `RetryPolicy`."""

Handler = Callable[..., Awaitable[None]]


class AckMiddleware(BaseMiddleware[Any, Any]):
    """Acks what was handled, repeats what failed, keeps what cannot be handled.

    The `RetryPolicy` that the context has under `RETRY_POLICY` decides what is retried and when. A message that is not
    retried goes to `DEAD_LETTERS`, and is acknowledged only when it is stored there. In memory there is no stream, and
    errors are raised.
    """

    def __init__(self, msg: Msg, /, *, context: ContextRepo, retrying: RetryPolicy) -> None:
        super().__init__(msg, context=context)
        self._retrying: RetryPolicy = context.get(RETRY_POLICY) or retrying

    async def on_receive(self) -> None:
        """Take up the request that the message's headers tell of."""
        tracing.set_trace(self.msg.headers)

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream's signature
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002 - likewise
    ) -> bool | None:
        """Decide what becomes of the message, once its handler has ended in whatever way."""
        if exc_val is not None and not isinstance(exc_val, Exception):
            return False  # the process is being stopped: another one gets the message
        try:
            about = self.msg.metadata
        except NotJSMessageError:
            return False
        message = (about.consumer, about.sequence.stream)
        if exc_val is None:
            self._retrying.settled(message)
            failpoint(BEFORE_ACK)
            await self.msg.ack()
            failpoint(AFTER_ACK)
            return False
        attempt = about.num_delivered or 1
        pause = self._retrying.pause_after(exc_val, message)
        if pause is not None:
            self._tell_of_pause(exc_val, attempt, pause)
            await self.msg.nak(delay=pause)
        elif await self._is_buried(exc_val, attempt):
            self._retrying.settled(message)
            await self.msg.ack()
        else:
            await self.msg.nak(delay=self._retrying.longest_pause)
        return True

    def _tell_of_pause(self, error: Exception, attempt: int, pause: float) -> None:
        # While a server is away everything comes again and again: of each message one line is enough.
        tell = log.debug if is_away(error) and attempt > 1 else log.warning
        tell("tried again later", subject=self.msg.subject, attempt=attempt, pause=round(pause, 3), reason=str(error))

    async def _is_buried(self, error: Exception, attempt: int) -> bool:
        log.error("to the dead letters", subject=self.msg.subject, attempt=attempt, exc_info=error)
        try:
            failpoint(BEFORE_DEAD_LETTER)
            await self._bury(error, attempt)
            failpoint(AFTER_DEAD_LETTER)
        except NatsError as refused:
            log.critical("the dead letters do not take it", subject=self.msg.subject, reason=str(refused))
            return False
        return True

    async def _bury(self, error: Exception, attempt: int) -> None:
        about = self.msg.metadata
        own = {k: v for k, v in (self.msg.headers or {}).items() if not k.startswith("Nats-")}
        headers = own | {
            # Buried once, though its ack be lost; and once for each who could not handle it.
            "Nats-Msg-Id": f"{about.stream}.{about.sequence.stream}.{about.consumer}",
            "Dead-Reason": type(error).__name__,
            "Dead-Detail": " ".join(str(error).split())[:500].encode("ascii", "replace").decode(),
            "Dead-Attempts": str(attempt),
            "Dead-First-Time": about.timestamp.astimezone(UTC).isoformat(),
            "Dead-Last-Time": datetime.now(UTC).isoformat(),
            "Dead-Stream": about.stream,
            "Dead-Consumer": about.consumer,
        }
        await self.msg._client.jetstream().publish(  # noqa: SLF001 - a message knows its connection, and nobody else
            f"{DEAD}{self.msg.subject}", self.msg.data, headers=headers
        )


class DurableRouter(NatsRouter):
    """A router for what one service must not miss: the commands that it takes, and the events that it reacts to."""

    def __init__(self, service: str) -> None:
        super().__init__(middlewares=[partial(AckMiddleware, retrying=RetryPolicy())])
        self._service = service

    def takes(self, message: type[Command | Event], stream: Stream) -> Callable[[Handler], Handler]:
        """Subscribe a handler to every `message` in `stream`, shared by all replicas under one durable name.

        Up to a hundred are handed out at once, each to a call of its own, and again and again until one of those calls
        returns. So they come in no order, and more than once: a handler makes both harmless in its transaction.
        """

        def subscribe(handler: Handler) -> Handler:
            subscriber = self.subscriber(
                message.subject,
                stream=JStream(stream.name, declare=False),
                durable=f"{self._service}-{handler.__name__}",
                # One message a call, and not a list: one that does not validate would fail its whole list.
                pull_sub=PullSub(batch_size=BATCH),
                inbox_prefix=f"{inbox_prefix(self._service)}.".encode(),
                config=ConsumerConfig(ack_wait=ACK_WAIT, max_ack_pending=1000, max_deliver=-1),
                ack_policy=AckPolicy.MANUAL,
            )
            subscriber._consume_pull = partial(pull, subscriber)  # type: ignore[method-assign] # noqa: SLF001 - see kit.messaging.pull
            return subscriber(handler)

        return subscribe


class SkipFailedMiddleware(BaseMiddleware[Any, Any]):
    """Goes on after an event that could not be taken: it is logged, and the next one comes. In memory it is raised."""

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream's signature
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002 - likewise
    ) -> bool | None:
        """Log what the handler raised."""
        if not isinstance(exc_val, Exception) or sequence_of(self.msg) is None:
            return False
        log.error("an event is passed over", subject=self.msg.subject, exc_info=exc_val)
        return True


def sequence_of(message: Msg) -> int | None:
    """Return the number of a message in its stream; None in memory, where there is no stream."""
    try:
        return int(message.metadata.sequence.stream)
    except NotJSMessageError:
        return None


class _FromTime(ConsumerConfig):
    """Begins at a time; whenever it begins anew, after the last message that was read."""

    def as_dict(self) -> dict[str, object]:
        """Write it as the server takes it."""
        written = super().as_dict()
        if self.deliver_policy is DeliverPolicy.BY_START_SEQUENCE:
            # nats-py sets the sequence and leaves the time: refused (10094), again and again, and nothing ever comes.
            written.pop("opt_start_time", None)
        return written


class EventRouter(NatsRouter):
    """A router for one process that follows streams by itself: every event, in order, remembered nowhere.

    For what lives in a process only, such as caches and those who wait. What must not miss an event while it is away
    takes it durably.
    """

    def __init__(self) -> None:
        super().__init__(middlewares=[SkipFailedMiddleware])

    def follows(self, stream: Stream, *, since: datetime | None = None) -> Callable[[Handler], Handler]:
        """Subscribe a handler to all that comes into `stream` from now on, or since a moment, without a gap."""
        config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
        if since is not None:
            config = _FromTime(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since)

        def subscribe(handler: Handler) -> Handler:
            subscriber = self.subscriber(
                stream.subjects[0],
                stream=JStream(stream.name, declare=False),
                ordered_consumer=True,  # begins anew after the last one whenever NATS was away
                idle_heartbeat=_HEARTBEAT,
                config=config,
                ack_policy=AckPolicy.MANUAL,
            )
            return subscriber(handler)

        return subscribe
