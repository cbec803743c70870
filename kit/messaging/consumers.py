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
from nats.js.api import ConsumerConfig
from structlog.stdlib import get_logger

from contracts.consumers import Durable
from contracts.streams import DEAD
from kit.asyncapi.handlers import Handled
from kit.messaging.batches import BatchHandler, Received
from kit.messaging.broker import inbox_prefix
from kit.messaging.inbox_key import MessageInboxKey
from kit.messaging.pull import BATCH, pull
from kit.messaging.retry import RetryPolicy, is_away
from kit.runtime import tracing
from kit.runtime.depends import Provided
from kit.runtime.failpoints import AFTER_ACK, AFTER_DEAD_LETTER, BEFORE_ACK, BEFORE_DEAD_LETTER, failpoint

log = get_logger(__name__)

ACK_WAIT = 10.0
"""Seconds after which a message is given to another consumer: the one that had it is dead."""

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
        exc_tb: TracebackType | None = None,  # noqa: ARG002 - same reason
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
    """A router for the messages that one service must not miss: commands, and other services' events."""

    def __init__(self) -> None:
        super().__init__(middlewares=[partial(AckMiddleware, retrying=RetryPolicy())])
        self.handled: list[Handled] = []
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
            # One message a call, and not a list: one that does not validate would fail its whole list.
            pull_sub=PullSub(batch_size=BATCH),
            inbox_prefix=f"{inbox_prefix(durable.service)}.".encode(),
            config=ConsumerConfig(ack_wait=ACK_WAIT, max_ack_pending=1000, max_deliver=-1),
            ack_policy=AckPolicy.MANUAL,
        )
        subscriber._consume_pull = partial(pull, subscriber)  # type: ignore[method-assign] # noqa: SLF001 - see kit.messaging.pull
        subscriber(receive)
        self.handled.append(Handled("consumes", durable.message, handler, subscriber, durable=durable.name))
