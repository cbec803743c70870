"""What a handler of this service may ask for."""

from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple, TypeAlias
from uuid import UUID

from apps.payments import repository
from apps.payments.models import Payer
from contracts.payments import CreatePayment
from kit.batching import BatchLoader
from kit.inbox import InboxKey
from kit.runtime.depends import Provided
from kit.runtime.tracing import Trace

OpenPayments: TypeAlias = Annotated[Callable[[], repository.Payments], Provided("open_payments")]
"""Begins a transaction."""

FindWaiting: TypeAlias = Annotated[Callable[[UUID], Awaitable[CreatePayment | None]], Provided("find_waiting")]
"""Looks whether a command still waits to be carried out; raises `Unavailable` when that cannot be told."""


class Order(NamedTuple):
    """A command, and the request that it came with."""

    command: CreatePayment
    trace: Trace


Record: TypeAlias = Annotated[BatchLoader[Order, Exception | None], Provided("record")]
"""Records an order, together with those that come at the same time; returns what kept it from being recorded."""


class Told(NamedTuple):
    """What an event says of a payer, and what marks the event as handled."""

    mark: InboxKey
    payer: Payer


Learn: TypeAlias = Annotated[BatchLoader[Told, Exception | None], Provided("learn")]
"""Takes in what an event says, together with those that come at the same time; returns what kept it from that."""
