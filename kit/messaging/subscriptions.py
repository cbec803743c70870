"""Subscribing one process to streams: every event in order, nothing stored on the server."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from types import TracebackType
from typing import Any

from faststream import AckPolicy, BaseMiddleware
from faststream.nats import JStream, NatsRouter
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError
from nats.js.api import ConsumerConfig, DeliverPolicy
from structlog.stdlib import get_logger

from contracts.streams import Stream
from kit.asyncapi.handlers import Handled, messages_of

log = get_logger(__name__)

Handler = Callable[..., Awaitable[None]]

_HEARTBEAT_INTERVAL = 1.0
"""Seconds; after two without a heartbeat an ordered consumer is created again."""


class SkipFailedMiddleware(BaseMiddleware[Any, Any]):
    """Logs an event whose handler failed, and continues with the next. In memory the error is raised."""

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


def sequence_of(message: Msg) -> int | None:
    """Return the sequence of a message in its stream; None in memory, where there is no stream."""
    try:
        return int(message.metadata.sequence.stream)
    except NotJSMessageError:
        return None


class _FromTime(ConsumerConfig):
    """A consumer that starts at a time, and after a reconnect continues after the last message that was read."""

    def as_dict(self) -> dict[str, object]:
        """Return the configuration in the server's form."""
        written = super().as_dict()
        if self.deliver_policy is DeliverPolicy.BY_START_SEQUENCE:
            # nats-py sets the sequence and leaves the time: the server refuses that (10094) each time.
            written.pop("opt_start_time", None)
        return written


class EventRouter(NatsRouter):
    """A router for one process that subscribes to streams: every event, in order, and no position on the server.

    For state that lives in the process only, such as caches and waiters. A service that must not miss an event while it
    is down consumes it with a `DurableRouter`.
    """

    def __init__(self) -> None:
        super().__init__(middlewares=[SkipFailedMiddleware])
        self.handled: list[Handled] = []

    def subscribe(self, stream: Stream, *, since: datetime | None = None) -> Callable[[Handler], Handler]:
        """Register a handler for all events of a stream from now on, or since a time, without a gap.

        The annotation of its first parameter names the events: one class, or a union.
        """
        config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
        if since is not None:
            config = _FromTime(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since)

        def register(handler: Handler) -> Handler:
            subscriber = self.subscriber(
                stream.subjects[0],
                stream=JStream(stream.name, declare=False),
                ordered_consumer=True,  # continues after the last message when NATS is back
                idle_heartbeat=_HEARTBEAT_INTERVAL,
                config=config,
                ack_policy=AckPolicy.MANUAL,
            )
            subscriber(handler)
            self.handled += [Handled("subscribes", event, handler, subscriber) for event in messages_of(handler)]
            return handler

        return register
