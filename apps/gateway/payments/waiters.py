"""Requests that wait until a payment is recorded: its event wakes them, they do not poll."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

from contracts.payments import PaymentView

WaitRecorded = Callable[[float], Awaitable[PaymentView | None]]
"""Waits for at most the given number of seconds; returns None if the payment is not recorded by then."""


class Waiters:
    """The waiting requests of this process: at most `limit` wait at a time, the others get None at once.

    Without the limit, requests that wait while the payments service is unavailable would take all places.
    """

    def __init__(self, limit: int = 500) -> None:
        self._free = limit
        self._futures: dict[UUID, set[asyncio.Future[PaymentView]]] = defaultdict(set)

    @property
    def expected(self) -> Collection[UUID]:
        """The payments that a request may wait for."""
        return self._futures.keys()

    @contextmanager
    def expect(self, payment: UUID) -> Iterator[WaitRecorded]:
        """Register for a payment until the end of the block; enter it before the command is published."""
        future: asyncio.Future[PaymentView] = asyncio.get_running_loop().create_future()

        async def wait_recorded(timeout: float) -> PaymentView | None:  # noqa: ASYNC109 - not an error when it is over
            if self._free and not future.done():
                self._free -= 1
                try:
                    await asyncio.wait([future], timeout=timeout)
                finally:
                    self._free += 1
            return future.result() if future.done() else None

        self._futures[payment].add(future)
        try:
            yield wait_recorded
        finally:
            self._futures[payment].discard(future)
            if not self._futures[payment]:
                del self._futures[payment]

    def wake(self, payment: PaymentView) -> None:
        """Wake the requests that wait for this payment."""
        for future in self._futures.get(payment.id, ()):
            if not future.done():
                future.set_result(payment)
