"""The dependencies of the payments service's handlers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from apps.payments import repository
from apps.payments.pending import PendingPayments
from kit.runtime.depends import Factory, Provided


@dataclass(frozen=True)
class Dependencies:
    """What the composition root builds for the handlers; tests pass fakes."""

    open_payments: Callable[[], repository.Payments]
    """Opens a transaction."""
    read_payments: Callable[[], repository.Payments]
    """Opens a connection that commits each statement: reads save the two round trips of a transaction."""
    pending: PendingPayments
    """Finds payments that are not recorded yet."""
    payment_limit: int
    """The largest amount that is created, in minor units; a payment above it is recorded as rejected."""


Payments: TypeAlias = Annotated[repository.Payments, Factory("open_payments")]
PaymentsToRead: TypeAlias = Annotated[repository.Payments, Factory("read_payments")]
Pending: TypeAlias = Annotated[PendingPayments, Provided("pending")]
PaymentLimit: TypeAlias = Annotated[int, Provided("payment_limit")]
