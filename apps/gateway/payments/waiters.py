"""Requests that wait until a payment is recorded: its event wakes them, they do not poll."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol
from uuid import UUID

from structlog.stdlib import get_logger

from contracts.payments import PaymentView
from kit.errors import Unavailable
from kit.messaging.demand import Needed, always

log = get_logger(__name__)


class Expectation(Protocol):
    """A request that waits for one payment."""

    def add(self, payment: UUID) -> None:
        """Register for the payment under an id; before its command is published."""

    async def __call__(self, timeout: float) -> PaymentView | None:  # noqa: ASYNC109 - not an error when it is over
        """Wait for at most `timeout` seconds; return None if the payment is not recorded by then."""


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

    @asynccontextmanager
    async def expect(self, *payments: UUID, needed: Needed = always) -> AsyncIterator[Expectation]:
        """Let the event of a payment arrive until the end of the block.

        The payment is one of `payments`, or gets its id later. `needed` lets the events of its shard arrive. If the
        events cannot arrive, nothing is waited for.
        """
        expectation = _Expectation(self)
        try:
            for payment in payments:
                expectation.add(payment)
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(needed())
                except Unavailable as error:  # the payment can still be accepted
                    log.warning("payment is not waited for: its event cannot arrive", reason=str(error))
                    expectation.future.cancel()
                yield expectation
        finally:
            expectation.forget()

    async def wait(self, future: asyncio.Future[PaymentView], timeout: float) -> PaymentView | None:  # noqa: ASYNC109 - same
        """Wait for a future if there is a free place."""
        if self._free and not future.done():
            self._free -= 1
            try:
                await asyncio.wait([future], timeout=timeout)
            finally:
                self._free += 1
        return future.result() if future.done() and not future.cancelled() else None

    def register(self, payment: UUID, future: asyncio.Future[PaymentView]) -> None:
        """Let the event of a payment resolve a future."""
        self._futures[payment].add(future)

    def unregister(self, payment: UUID, future: asyncio.Future[PaymentView]) -> None:
        """Undo `register`."""
        self._futures[payment].discard(future)
        if not self._futures[payment]:
            del self._futures[payment]

    def wake(self, payment: PaymentView) -> None:
        """Wake the requests that wait for this payment."""
        for future in self._futures.get(payment.id, ()):
            if not future.done():
                future.set_result(payment)


class _Expectation:
    def __init__(self, waiters: Waiters) -> None:
        self.future: asyncio.Future[PaymentView] = asyncio.get_running_loop().create_future()
        self._waiters = waiters
        self._payments: set[UUID] = set()

    def add(self, payment: UUID) -> None:
        self._payments.add(payment)
        self._waiters.register(payment, self.future)

    async def __call__(self, timeout: float) -> PaymentView | None:  # noqa: ASYNC109 - same
        return await self._waiters.wait(self.future, timeout)

    def forget(self) -> None:
        for payment in self._payments:
            self._waiters.unregister(payment, self.future)
