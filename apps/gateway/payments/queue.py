"""The durable queues of payment commands: PAYMENT_COMMANDS, and KEYED_PAYMENT_COMMANDS for those with a key."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from pydantic import ValidationError

from apps.gateway.http.backpressure import remaining
from apps.gateway.payments.batches import IN_FLIGHT, IN_FLIGHT_OF_SHARD, Assigned, NewCommand, PaymentBatches
from apps.gateway.payments.keyed import KeyedPayments
from apps.gateway.payments.publishing import CommandPublisher
from contracts.payments import CreatePayment
from contracts.shards import ONLY, Shard, Shards
from contracts.streams import KEYED_PAYMENT_COMMANDS, STREAMS, streams_of
from kit.batching import BatchLoader
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import last_bodies
from kit.ops.health import Check

_PUBLISH_RESERVE = 0.3
"""Seconds that a lookup leaves for the publish after it."""


class PaymentQueue(Protocol):
    """A durable queue of commands for the payments service.

    Publishing raises `Unavailable` if nothing was stored, and `OutcomeUnknown` if no acknowledgement arrived in time.
    """

    async def publish(self, new: NewCommand, caller: UUID, assigned: Assigned) -> CreatePayment:
        """Give a payment without a key an id, store its command durably, and return it.

        `assigned` is called with the id before the payment is published, and again if it gets another id.
        """

    async def publish_keyed(self, command: CreatePayment) -> bool:
        """Store the command of a payment with a key durably; False if the queue has one with its id."""

    async def find_keyed(self, payment: UUID) -> CreatePayment | None:
        """Return the command with this id that is queued, or was and is still remembered."""


class JetStreamPaymentQueue:
    """Commands of a shard in JetStream; `timeout` is the time of one HTTP request, in seconds."""

    def __init__(self, broker: Broker, timeout: float, shard: Shard = ONLY, replicas: int = 1) -> None:
        publisher = CommandPublisher(broker)
        self._shard = shard
        self._broker = broker
        self._timeout = timeout
        self._replicas = replicas
        in_flight = IN_FLIGHT if shard.count == 1 else IN_FLIGHT_OF_SHARD
        self._batches = PaymentBatches(publisher, timeout, in_flight=in_flight, shard=shard)
        self._keyed = KeyedPayments(publisher, timeout, shard=shard)
        self._found: BatchLoader[UUID, CreatePayment | None] = BatchLoader(self._load)

    async def publish(self, new: NewCommand, caller: UUID, assigned: Assigned) -> CreatePayment:
        """Publish a payment without a key in the next batch; when it returns, the payment is synced to disk."""
        return await self._batches.publish(new, caller, assigned)

    async def publish_keyed(self, command: CreatePayment) -> bool:
        """Publish a payment with a key; True means that it is synced to disk."""
        return await self._keyed.publish(command)

    async def find_keyed(self, payment: UUID) -> CreatePayment | None:
        """Find the command in the stream by its subject; concurrent lookups are one request.

        Raises `Unavailable` if NATS does not reply in the time that the HTTP request has left.
        """
        try:
            async with asyncio.timeout(remaining(self._timeout) - _PUBLISH_RESERVE):
                return await self._found(payment)
        except TimeoutError as error:
            raise Unavailable(NATS) from error

    async def _load(self, payments: Sequence[UUID]) -> list[CreatePayment | None]:
        addresses = [self._shard.subject(CreatePayment.address_of(payment)) for payment in payments]
        stream = KEYED_PAYMENT_COMMANDS.of(self._shard)
        bodies = await last_bodies(
            self._broker.jetstream, stream, addresses, replicas=self._replicas, timeout=self._timeout
        )
        return [_readable(bodies.get(address)) for address in addresses]


class ShardedPaymentQueue:
    """The queues of all shards: a payment without a key goes to that of its caller, one with a key to that of its id.

    Both are the same shard.
    """

    def __init__(self, shards: Shards, queue_of: Callable[[Shard], PaymentQueue]) -> None:
        self._shards = shards
        self._queues = [queue_of(shard) for shard in shards.all]

    async def publish(self, new: NewCommand, caller: UUID, assigned: Assigned) -> CreatePayment:
        """Publish a payment without a key to the shard of its caller."""
        return await self._queues[self._shards.of_user(caller).number].publish(new, caller, assigned)

    async def publish_keyed(self, command: CreatePayment) -> bool:
        """Publish a payment with a key to the shard of its id; True means that it is synced to disk."""
        return await self._of(command.id).publish_keyed(command)

    async def find_keyed(self, payment: UUID) -> CreatePayment | None:
        """Find the command in the shard of its id."""
        return await self._of(payment).find_keyed(payment)

    def _of(self, payment: UUID) -> PaymentQueue:
        return self._queues[self._shards.of_payment(payment).number]


def payment_queue(broker: Broker, timeout: float, shards: Shards, replicas: int) -> PaymentQueue:
    """Return the queue of the only shard, or those of all; `timeout` is in seconds, `replicas` those of each stream."""
    queue = partial(JetStreamPaymentQueue, broker, timeout, replicas=replicas)
    return queue() if shards.count == 1 else ShardedPaymentQueue(shards, queue)


def shard_checks(broker: Broker, shards: Shards) -> dict[str, Check]:
    """Return a check of the streams of each of several shards: without one shard, payments of the others go on."""
    streams = [stream for stream in STREAMS if stream.sharded]
    return {
        f"shard-{shard.name}": partial(broker.check_streams, streams_of([shard], streams))
        for shard in (shards.all if shards.count > 1 else ())
    }


def _readable(body: bytes | None) -> CreatePayment | None:
    try:
        return None if body is None else CreatePayment.model_validate_json(body)
    except ValidationError:
        return None
