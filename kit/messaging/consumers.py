"""Consuming durable messages from a stream: acknowledgement, retries and dead letters."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Annotated, Any

from faststream import AckPolicy, BaseMiddleware, ContextRepo
from faststream.nats import JStream, NatsRouter, PullSub
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NotJSMessageError
from structlog.stdlib import get_logger

from contracts.consumers import Durable
from contracts.headers import (
    DEAD_ATTEMPTS,
    DEAD_CONSUMER,
    DEAD_DETAIL,
    DEAD_FIRST_TIME,
    DEAD_LAST_TIME,
    DEAD_REASON,
    DEAD_STREAM,
    MESSAGE_ID,
)
from contracts.inboxes import inbox_prefix
from contracts.streams import DEAD
from kit.asyncapi.handlers import Handled
from kit.messaging.batches import BatchHandler, Received
from kit.messaging.faststream_compat import replace_pull_loop
from kit.messaging.inbox_key import MessageInboxKey
from kit.messaging.nats_compat import jetstream_of
from kit.messaging.pull import BATCH, pull
from kit.messaging.retry import RetryPolicy, is_outage
from kit.messaging.streams import ACK_WAIT, consumer_config
from kit.runtime import tracing
from kit.runtime.depends import Provided
from kit.runtime.failpoints import AFTER_ACK, AFTER_DEAD_LETTER, BEFORE_ACK, BEFORE_DEAD_LETTER, failpoint

log = get_logger(__name__)

RETRY_POLICY = "retry_policy"
"""The key in FastStream's context of the process's `RetryPolicy`."""

Handler = Callable[..., Awaitable[None]]


class AckMiddleware(BaseMiddleware[Any, Any]):
    """Acknowledges handled messages, retries failed ones and dead-letters those that cannot be handled.

    The `RetryPolicy` that the context has under `RETRY_POLICY` decides what is retried and when. A message that is not
    retried goes to `DEAD_LETTERS`, and is acknowledged only when it is stored there. In memory there is no stream, and
    errors are raised.
    """

    def __init__(self, msg: Msg, /, *, context: ContextRepo, retry_policy: RetryPolicy) -> None:
        super().__init__(msg, context=context)
        self._retry_policy: RetryPolicy = context.get(RETRY_POLICY) or retry_policy

    async def on_receive(self) -> None:
        """Set the current trace from the message's headers."""
        tracing.set_trace(self.msg.headers)

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream's signature
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002 - same reason
    ) -> bool | None:
        """Acknowledge, retry or dead-letter the message after its handler has returned or raised."""
        if exc_val is not None and not isinstance(exc_val, Exception):
            return False  # the process stops: the message is redelivered to another one
        try:
            metadata = self.msg.metadata
        except NotJSMessageError:
            return False
        message = (metadata.consumer, metadata.sequence.stream)
        if exc_val is None:
            self._retry_policy.forget(message)
            failpoint(BEFORE_ACK)
            await self.msg.ack()
            failpoint(AFTER_ACK)
            return False
        attempt = metadata.num_delivered or 1
        delay = self._retry_policy.delay_after(exc_val, message)
        if delay is not None:
            self._log_retry(exc_val, attempt, delay)
            await self.msg.nak(delay=delay)
        elif await self._dead_letter(exc_val, attempt):
            self._retry_policy.forget(message)
            await self.msg.ack()
        else:
            await self.msg.nak(delay=self._retry_policy.max_delay)
        return True

    def _log_retry(self, error: Exception, attempt: int, delay: float) -> None:
        # While a server is unavailable every message is retried repeatedly: one line per message is enough.
        write = log.debug if is_outage(error) and attempt > 1 else log.warning
        write("message retried", subject=self.msg.subject, attempt=attempt, delay=round(delay, 3), reason=str(error))

    async def _dead_letter(self, error: Exception, attempt: int) -> bool:
        """Return whether the message is stored in `DEAD_LETTERS`."""
        log.error("message dead-lettered", subject=self.msg.subject, attempt=attempt, exc_info=error)
        try:
            failpoint(BEFORE_DEAD_LETTER)
            await self._publish_dead_letter(error, attempt)
            failpoint(AFTER_DEAD_LETTER)
        except NatsError as refused:
            log.critical("message not dead-lettered", subject=self.msg.subject, reason=str(refused))
            return False
        return True

    async def _publish_dead_letter(self, error: Exception, attempt: int) -> None:
        metadata = self.msg.metadata
        own = {k: v for k, v in (self.msg.headers or {}).items() if not k.startswith("Nats-")}
        headers = own | {
            # Stored once even if its acknowledgement is lost, and once per consumer that could not handle it.
            MESSAGE_ID: f"{metadata.stream}.{metadata.sequence.stream}.{metadata.consumer}",
            DEAD_REASON: type(error).__name__,
            DEAD_DETAIL: " ".join(str(error).split())[:500].encode("ascii", "replace").decode(),
            DEAD_ATTEMPTS: str(attempt),
            DEAD_FIRST_TIME: metadata.timestamp.astimezone(UTC).isoformat(),
            DEAD_LAST_TIME: datetime.now(UTC).isoformat(),
            DEAD_STREAM: metadata.stream,
            DEAD_CONSUMER: metadata.consumer,
        }
        await jetstream_of(self.msg).publish(f"{DEAD}{self.msg.subject}", self.msg.data, headers=headers)


class DurableRouter(NatsRouter):
    """A router for the messages that one service must not miss: commands, and other services' events.

    A message that is not acknowledged within `ack_wait` seconds is redelivered.
    """

    def __init__(self, *, ack_wait: float = ACK_WAIT) -> None:
        super().__init__(middlewares=[partial(AckMiddleware, retry_policy=RetryPolicy())])
        self.handled: list[Handled] = []
        self._ack_wait = ack_wait
        self._batches: dict[Handler, BatchHandler] = {}

    def consume(self, durable: Durable) -> Callable[[Handler], Handler]:
        """Register a handler for each message of a durable consumer, which all replicas of the service share.

        Up to a hundred messages are requested at once and handled concurrently, so they are handled in no order, and
        more than once when an acknowledgement is lost: a handler makes both harmless in its transaction.
        """

        def register(handler: Handler) -> Handler:
            self._subscribe(durable, handler, handler)
            return handler

        return register

    def consume_batch(self, durable: Durable, *, in_flight: int = 2) -> Callable[[Handler], Handler]:
        """Register a handler for the messages that arrive together, as a sequence of `Received`.

        Each call is one transaction; the handler's other parameters are attributes of the service's `Dependencies`.
        Acknowledgement, retries and dead letters are still decided for each message: when a batch fails it is halved
        until the failing message stands alone. At most `in_flight` calls run at once, in all consumers of a handler.
        """

        def register(handler: Handler) -> Handler:
            batch = self._batches.setdefault(handler, BatchHandler(handler, in_flight))

            async def receive(
                message: durable.message,  # type: ignore[name-defined] # FastStream reads the class at run time
                inbox_key: MessageInboxKey,
                dependencies: Annotated[Any, Provided()],
            ) -> None:
                await batch.handle(Received(message, tracing.trace.get(), inbox_key), dependencies)

            self._subscribe(durable, receive, handler)
            return handler

        return register

    def _subscribe(self, durable: Durable, receive: Handler, handler: Handler) -> None:
        subscriber = self.subscriber(
            durable.message.subject,
            stream=JStream(durable.stream.name, declare=False),
            durable=durable.name,
            # One message per call, not a list: one invalid message would fail its whole list.
            pull_sub=PullSub(batch_size=BATCH),
            inbox_prefix=f"{inbox_prefix(durable.service)}.".encode(),
            config=consumer_config(durable, self._ack_wait),
            ack_policy=AckPolicy.MANUAL,
        )
        replace_pull_loop(subscriber, pull)
        subscriber(receive)
        self.handled.append(Handled("consumes", durable.message, handler, subscriber, durable=durable.name))
