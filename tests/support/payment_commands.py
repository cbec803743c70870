"""Commands to create payments."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from apps.gateway.payments.ids import BatchIds
from contracts.payments import CreatePayment


def new_command(**fields: Any) -> CreatePayment:
    """Return a command to create a payment of $19.99, with other values for some `fields`."""
    defaults = {"id": uuid4(), "user_id": uuid4(), "amount": 1999, "created_at": datetime.now(UTC)}
    return CreatePayment(**defaults | fields)


def new_commands(count: int, **fields: Any) -> list[CreatePayment]:
    """Return commands without a key, with the ids of one batch."""
    ids = BatchIds()
    return [new_command(id=ids.next(UUID(int=1)), **fields) for _ in range(count)]
