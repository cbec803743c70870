"""Those who wait for a payment to be recorded: woken by its event, not by polling."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from contracts.payments import PaymentView

Recorded = Callable[[float], Awaitable[PaymentView | None]]
"""Waits so many seconds at most; None where the payment was not recorded in that time."""


class Waiters:
    """Who waits for which payment in this process: at most so many, and the others are answered at once.

    Else those who wait while the payments service is away would take the places of all other requests.
    """

    def __init__(self, most: int = 500) -> None:
        self._free = most
        self._waiting: dict[UUID, set[asyncio.Future[PaymentView]]] = defaultdict(set)

    @contextmanager
    def expect(self, payment: UUID) -> Iterator[Recorded]:
        """Listen for a payment from now on: before it is sent, so that its event cannot come too early."""
        future: asyncio.Future[PaymentView] = asyncio.get_running_loop().create_future()

        async def recorded(seconds: float) -> PaymentView | None:
            if self._free and not future.done():
                self._free -= 1
                try:
                    await asyncio.wait([future], timeout=seconds)
                finally:
                    self._free += 1
            return future.result() if future.done() else None

        self._waiting[payment].add(future)
        try:
            yield recorded
        finally:
            self._waiting[payment].discard(future)
            if not self._waiting[payment]:
                del self._waiting[payment]

    def wake(self, payment: PaymentView) -> None:
        """Tell those who wait for it that a payment is recorded."""
        for future in self._waiting.get(payment.id, ()):
            if not future.done():
                future.set_result(payment)
