"""The durable queues of payment commands: PAYMENT_COMMANDS, and KEYED_PAYMENT_COMMANDS for those with a key."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from pydantic import ValidationError

from apps.gateway.http.backpressure import remaining
from apps.gateway.payments.batches import Assigned, NewCommand, PaymentBatches
from apps.gateway.payments.keyed import KeyedPayments
from apps.gateway.payments.publishing import CommandPublisher
from contracts.payments import CreatePayment
from contracts.streams import KEYED_PAYMENT_COMMANDS
from kit.batching import BatchLoader
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import last_bodies

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
    """Commands in JetStream; `timeout` is the time of one HTTP request, in seconds."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        publisher = CommandPublisher(broker)
        self._broker = broker
        self._timeout = timeout
        self._batches = PaymentBatches(publisher, timeout)
        self._keyed = KeyedPayments(publisher, timeout)
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
        addresses = [CreatePayment.address_of(payment) for payment in payments]
        bodies = await last_bodies(self._broker.jetstream, KEYED_PAYMENT_COMMANDS, addresses, timeout=self._timeout)
        return [_readable(bodies.get(address)) for address in addresses]


def _readable(body: bytes | None) -> CreatePayment | None:
    try:
        return None if body is None else CreatePayment.model_validate_json(body)
    except ValidationError:
        return None
