"""Consuming one durable with a handler of batches: parts, retries, dead letters and the acknowledgement."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any

from faststream import ContextRepo
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NotJSMessageError

from contracts.consumers import Durable
from kit.messaging.batches import BatchHandler, Received
from kit.messaging.delivery.acknowledgement import Failure, acknowledge, arrived, count, settle, settled
from kit.messaging.delivery.breaker import BREAKERS, Breaker, Breakers
from kit.messaging.delivery.crash_guard import CRASH_GUARD, CrashGuard
from kit.messaging.delivery.parts import Invalid, Part, read
from kit.messaging.retry import RETRY_POLICY, Deliveries, Delivery, RetryPolicy, in_attempt_order, is_outage
from kit.runtime.depends import DEPENDENCIES
from kit.runtime.tasks import cancel_and_wait

_HEARTBEATS_PER_ACK_WAIT = 4


class BatchConsumer:
    """Hands the parts of each message to a handler of batches, and settles the message when it has returned.

    A message that a process may have died of is handled one part at a time, in another order at each delivery: the part
    that kills its process takes no other with it. If the context has a `CrashGuard`, such a part is given up in the
    end. If it has `Breakers`, messages wait while too many fail. In memory there is no stream, and errors are raised.
    """

    def __init__(self, durable: Durable, handler: BatchHandler, ack_wait: float) -> None:
        self._contract = durable.message
        self._handler = handler
        self._share = 1 / durable.at_once
        self._heartbeat_interval = ack_wait / _HEARTBEATS_PER_ACK_WAIT
        self._retry_policy = RetryPolicy()
        self._deliveries = Deliveries()

    async def consume(self, message: Msg, context: ContextRepo) -> None:
        """Handle one message; raise an error of its parts only in memory."""
        policy: RetryPolicy = context.get(RETRY_POLICY) or self._retry_policy
        parts = read(self._contract, message)
        try:
            metadata = message.metadata
        except NotJSMessageError:
            for failure in await self._handle(parts, context.resolve(DEPENDENCIES)):
                raise failure.error from None
            return
        key = (metadata.consumer, metadata.sequence.stream)
        delivery = self._deliveries.of(key)
        if delivery.in_progress:
            return  # the first delivery takes longer than the ack wait, and will settle the message
        breakers: Breakers | None = context.get(BREAKERS)
        breaker = None if breakers is None else breakers.of(metadata.consumer)
        if breaker is not None and (delay := breaker.delay()):
            delivery.returned += 1
            await message.nak(delay=delay)
            return
        delivery.in_progress = True
        arrival = arrived(message)
        left = [part for part in parts if part.name not in delivery.finished]
        try:
            failures, pause = await self._attempt(message, left, delivery, breaker, context)
            await self._settle(message, key, delivery, left, failures, pause, policy)
        finally:
            delivery.in_progress = False
            settled(message, arrival)

    async def _attempt(
        self, message: Msg, parts: Sequence[Part], delivery: Delivery, breaker: Breaker | None, context: ContextRepo
    ) -> tuple[list[Failure], float]:
        """Handle parts; return those that failed, and the seconds for which the consumer is paused now."""
        dependencies, delivered = context.resolve(DEPENDENCIES), message.metadata.num_delivered or 1
        failures: list[Failure] | None = None
        try:
            if delivery.is_suspect(delivered):
                ordered, guard = in_attempt_order(parts, delivered), context.get(CRASH_GUARD)
                failures = await self._handle_each(ordered, dependencies, message, guard)
            else:
                failures = await self._handle(parts, dependencies)
        finally:
            pause = 0.0 if breaker is None else _record(breaker, parts, failures)
        return failures, pause

    async def _settle(
        self,
        message: Msg,
        key: tuple[str, int],
        delivery: Delivery,
        parts: Sequence[Part],
        failures: Sequence[Failure],
        pause: float,
        policy: RetryPolicy,
    ) -> None:
        failed = {failure.part.name for failure in failures}
        for part in parts:
            if part.name not in failed:
                policy.forget((*key, part.name))
        if not failures:
            await acknowledge(message, len(parts))
            self._deliveries.forget(key)
            return
        count(message, handled=len(parts) - len(failed))
        if pause:
            left = failed
            await message.nak(delay=pause)
            count(message, retried=len(left))
        else:
            left = set(await settle(message, failures, policy))
        if left:
            delivery.finished |= {part.name for part in parts} - left
            delivery.returned += 1
        else:
            self._deliveries.forget(key)

    async def _handle(self, parts: Sequence[Part], dependencies: Any) -> list[Failure]:
        failures, valid = _divide(parts)
        if valid:
            outcomes = await self._handler.handle([received for _, received in valid], dependencies, self._share)
            failures += [Failure(part, error) for (part, _), error in zip(valid, outcomes, strict=True) if error]
        return failures

    async def _handle_each(
        self, parts: Sequence[Part], dependencies: Any, message: Msg, guard: CrashGuard | None
    ) -> list[Failure]:
        """Handle valid parts one at a time, and tell the server meanwhile that the message is in progress."""
        failures, valid = _divide(parts)

        def around(number: int) -> AbstractAsyncContextManager[None]:
            return nullcontext() if guard is None else guard.around(message, valid[number][0].name)

        async def keep() -> None:
            while True:
                await asyncio.sleep(self._heartbeat_interval)
                with suppress(NatsError):
                    await message.in_progress()

        heartbeat = asyncio.create_task(keep())
        try:
            outcomes = await self._handler.handle_each([received for _, received in valid], dependencies, around)
        finally:
            await cancel_and_wait([heartbeat])
        return failures + [Failure(part, error) for (part, _), error in zip(valid, outcomes, strict=True) if error]


def _record(breaker: Breaker, parts: Sequence[Part], failures: Sequence[Failure] | None) -> float:
    """Note the outcomes of a message, without outages; return the seconds for which its consumer is paused now."""
    if failures is None:
        return breaker.record(succeeded=0, failed=0)
    failed = sum(not is_outage(failure.error) for failure in failures)
    return breaker.record(succeeded=len(parts) - len(failures), failed=failed)


def _divide(parts: Sequence[Part]) -> tuple[list[Failure], list[tuple[Part, Received[Any]]]]:
    """Return the invalid parts as failures, and the valid ones with what the handler gets."""
    invalid = [Failure(part, part.content.error) for part in parts if isinstance(part.content, Invalid)]
    valid = [(part, part.content) for part in parts if isinstance(part.content, Received)]
    return invalid, valid
