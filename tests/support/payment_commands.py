"""Commands to create payments, and the messages with which the gateway publishes them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from apps.gateway.payments.ids import BatchIds
from contracts.payments import BatchedPayment, CreatePayment, CreatePayments
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, Stream
from kit.runtime.tracing import Trace

UNKEYED = 7
"""Version of the UUID of a payment without a key."""
_NO_TRACE = Trace()


def new_command(**fields: Any) -> CreatePayment:
    """Return a command to create a payment of $19.99, with other values for some `fields`."""
    defaults = {"id": uuid4(), "user_id": uuid4(), "amount": 1999, "created_at": datetime.now(UTC)}
    return CreatePayment(**defaults | fields)


def new_commands(count: int, **fields: Any) -> list[CreatePayment]:
    """Return commands without a key, with the ids of one batch."""
    ids = BatchIds()
    return [new_command(id=ids.next(UUID(int=1)), **fields) for _ in range(count)]


def published(
    command: CreatePayment, origin: Trace = _NO_TRACE
) -> tuple[CreatePayment, Stream] | tuple[CreatePayments, Stream]:
    """Return the message with which the gateway publishes a payment: one without a key is a batch of one."""
    if command.id.version != UNKEYED:
        return command, KEYED_PAYMENT_COMMANDS
    return batch_of(command, origin=origin), PAYMENT_COMMANDS


def batch_of(*commands: CreatePayment, origin: Trace = _NO_TRACE) -> CreatePayments:
    """Return commands as the batch of their ids."""
    items = tuple(
        BatchedPayment(command=command, request_id=origin.request_id, traceparent=origin.traceparent)
        for command in commands
    )
    return CreatePayments(batch=commands[0].id.hex[:24], items=items)
