"""The dependencies of the payments service's handlers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias
from uuid import UUID

from apps.payments import repository
from contracts.payments import CreatePayment
from kit.runtime.depends import Factory, Provided


@dataclass(frozen=True)
class Dependencies:
    """What the composition root builds for the handlers; tests pass fakes."""

    open_payments: Callable[[], repository.Payments]
    """Opens a transaction."""
    read_payments: Callable[[], repository.Payments]
    """Opens a connection that commits each statement: reads save the two round trips of a transaction."""
    find_pending: Callable[[UUID], Awaitable[CreatePayment | None]]
    """Returns a command that is not processed yet, or None. Raises `Unavailable` if JetStream does not reply."""
    payment_limit: int
    """The largest amount that is created, in minor units; a payment above it is recorded as rejected."""


Payments: TypeAlias = Annotated[repository.Payments, Factory("open_payments")]
PaymentsToRead: TypeAlias = Annotated[repository.Payments, Factory("read_payments")]
FindPending: TypeAlias = Annotated[Callable[[UUID], Awaitable[CreatePayment | None]], Provided("find_pending")]
PaymentLimit: TypeAlias = Annotated[int, Provided("payment_limit")]
