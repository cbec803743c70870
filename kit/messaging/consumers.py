"""Consuming durable messages from a stream: acknowledgement, retries and dead letters."""

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any

from faststream import AckPolicy, BaseMiddleware, ContextRepo
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsRouter, PullSub
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from contracts.consumers import Durable
from contracts.shards import ONLY, Shard
from kit.asyncapi.handlers import Handled
from kit.messaging.batches import BatchHandler
from kit.messaging.delivery.acknowledgement import Failure, acknowledge, arrived, settle, settled
from kit.messaging.delivery.batch_consumer import BatchConsumer
from kit.messaging.delivery.crash_guard import CRASH_GUARD, CrashGuard
from kit.messaging.delivery.parts import Invalid, Part
from kit.messaging.faststream_compat import context_of, pull_from, replace_processing
from kit.messaging.pull import pull
from kit.messaging.retry import RETRY_POLICY, RetryPolicy
from kit.messaging.streams import ACK_WAIT, consumer_config
from kit.runtime import tracing
from kit.runtime.spans import nats_span

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
        self._crash_guard: CrashGuard | None = context.get(CRASH_GUARD)
        self._arrival = 0.0

    async def on_receive(self) -> None:
        """Set the current trace from the message's headers, and note the arrival."""
        tracing.set_trace(self.msg.headers)
        if _is_stored(self.msg):
            self._arrival = arrived(self.msg)

    async def consume_scope(self, call_next: Any, msg: StreamMessage[Msg]) -> Any:
        """Call the handler. Raises `ProcessDied` for a message that has killed the process too often."""
        with nats_span("process", "CONSUMER", self.msg.subject):
            if self._crash_guard is None or not _is_stored(self.msg):
                return await call_next(msg)
            async with self._crash_guard.around(self.msg, ""):
                return await call_next(msg)

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream's signature
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002 - same reason
    ) -> bool | None:
        """Acknowledge, retry or dead-letter the message after its handler has returned or raised."""
        if exc_val is not None and not isinstance(exc_val, Exception):
            return False  # the process stops: the message is redelivered to another one
        if not _is_stored(self.msg):
            return False
        try:
            await self._settle(exc_val)
        finally:
            settled(self.msg, self._arrival)
        return exc_val is not None

    async def _settle(self, error: Exception | None) -> None:
        metadata = self.msg.metadata
        if error is None:
            self._retry_policy.forget((metadata.consumer, metadata.sequence.stream, ""))
            await acknowledge(self.msg)
        else:
            whole = Part("", Invalid(error, self.msg.subject, self.msg.data, tracing.trace.get()))
            await settle(self.msg, [Failure(whole, error)], self._retry_policy)


def _is_stored(message: Msg) -> bool:
    """Return whether a stream has delivered the message; in memory there is none."""
    try:
        return bool(message.metadata)
    except NotJSMessageError:
        return False


class DurableRouter(NatsRouter):
    """A router for the messages that one service must not miss: commands, and other services' events.

    A message that is not acknowledged within `ack_wait` seconds is redelivered.
    """

    def __init__(self, *, ack_wait: float = ACK_WAIT, shard: Shard = ONLY) -> None:
        super().__init__(middlewares=[partial(AckMiddleware, retry_policy=RetryPolicy())])
        self.handled: list[Handled] = []
        self._ack_wait = ack_wait
        self._shard = shard
        self._batches: dict[Handler, BatchHandler] = {}
        self._registered: list[Callable[[DurableRouter], object]] = []

    def of(self, shard: Shard) -> "DurableRouter":
        """Return a router with the same handlers for the consumers of a shard; for the only shard this one."""
        if shard.count == 1:
            return self
        router = DurableRouter(ack_wait=self._ack_wait, shard=shard)
        for register in self._registered:
            register(router)
        return router

    def consume(self, durable: Durable) -> Callable[[Handler], Handler]:
        """Register a handler for each message of a durable consumer, which all replicas of the service share.

        The messages that are requested at once are handled concurrently, so they are handled in no order, and
        more than once when an acknowledgement is lost: a handler makes both harmless in its transaction.
        """

        def register(handler: Handler) -> Handler:
            self._subscribe(durable, handler, handler)
            self._registered.append(lambda router: router.consume(durable)(handler))
            return handler

        return register

    def consume_batch(self, durable: Durable, *, in_flight: int = 2) -> Callable[[Handler], Handler]:
        """Register a handler for the commands or events that arrive together, as a sequence of `Received`.

        Of a `CommandBatch` the handler gets the commands. Each call is one transaction; the handler's other parameters
        are attributes of the service's `Dependencies`. Retries and dead letters are decided for each command or event:
        when a call fails it is halved until the failing one stands alone. At most `in_flight` calls run at once, in
        all consumers of a handler.
        """

        def register(handler: Handler) -> Handler:
            self._registered.append(lambda router: router.consume_batch(durable, in_flight=in_flight)(handler))
            batch = self._batches.setdefault(handler, BatchHandler(handler, in_flight))

            async def receive(message: durable.message) -> None:  # type: ignore[name-defined] # FastStream reads the class at run time
                raise NotImplementedError  # the subscriber calls `BatchConsumer.consume` instead

            subscriber = self._subscribe(durable, receive, handler)
            consumer = BatchConsumer(durable, batch, self._ack_wait)
            # Looked up for each message: the router is included in a broker later, or in that of each test.
            replace_processing(subscriber, lambda message: consumer.consume(message, context_of(subscriber)))
            return handler

        return register

    def _subscribe(self, contract: Durable, receive: Handler, handler: Handler) -> Any:
        durable = contract.of(self._shard)
        subscriber = self.subscriber(
            durable.subject,
            stream=JStream(durable.stream.name, declare=False),
            durable=durable.name,
            # One message per call, not a list: one invalid message would fail its whole list.
            pull_sub=PullSub(batch_size=durable.at_once),
            config=consumer_config(durable, self._ack_wait),
            ack_policy=AckPolicy.MANUAL,
        )
        pull_from(subscriber, durable.name, partial(pull, batch=durable.at_once))
        subscriber(receive)
        documented = contract.subject == contract.message.subject
        self.handled.append(
            Handled("consumes", contract.message, handler, subscriber, durable=contract.name, documented=documented)
        )
        return subscriber
