"""The dependencies of the payments service's handlers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeAlias
from uuid import UUID

from apps.payments import repository
from apps.payments.models import Payer
from contracts.payments import CreatePayment
from kit.batching import BatchLoader
from kit.inbox import InboxKey
from kit.runtime.depends import Provided
from kit.runtime.tracing import Trace


class Order(NamedTuple):
    """A command with the trace of its request."""

    command: CreatePayment
    trace: Trace


class Told(NamedTuple):
    """A payer's new state with the inbox key of its event."""

    mark: InboxKey
    payer: Payer


@dataclass(frozen=True)
class Dependencies:
    """What the composition root builds for the handlers; tests pass fakes."""

    open_payments: Callable[[], repository.Payments]
    """Opens a transaction."""
    find_pending: Callable[[UUID], Awaitable[CreatePayment | None]]
    """Returns a command that is not processed yet, or None. Raises `Unavailable` if JetStream does not reply."""
    record: BatchLoader[Order, Exception | None]
    """Records payments in batches; returns for each the error that it failed with."""
    learn: BatchLoader[Told, Exception | None]
    """Updates payers in batches; returns for each the error that it failed with."""


OpenPayments: TypeAlias = Annotated[Callable[[], repository.Payments], Provided("open_payments")]
FindPending: TypeAlias = Annotated[Callable[[UUID], Awaitable[CreatePayment | None]], Provided("find_pending")]
Record: TypeAlias = Annotated[BatchLoader[Order, Exception | None], Provided("record")]
Learn: TypeAlias = Annotated[BatchLoader[Told, Exception | None], Provided("learn")]
