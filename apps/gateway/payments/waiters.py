"""Requests that wait until a payment is recorded: its event wakes them, they do not poll."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from structlog.stdlib import get_logger

from contracts.payments import PaymentView
from kit.errors import Unavailable
from kit.messaging.demand import Needed, always

log = get_logger(__name__)

WaitRecorded = Callable[[float], Awaitable[PaymentView | None]]
"""Waits for at most the given number of seconds; returns None if the payment is not recorded by then."""


class Waiters:
    """The waiting requests of this process: at most `limit` wait at a time, the others get None at once.

    Without the limit, requests that wait while the payments service is unavailable would take all places. `needed` lets
    the events of payments arrive.
    """

    def __init__(self, limit: int = 500, needed: Needed = always) -> None:
        self._free = limit
        self._needed = needed
        self._futures: dict[UUID, set[asyncio.Future[PaymentView]]] = defaultdict(set)

    @property
    def expected(self) -> Collection[UUID]:
        """The payments that a request may wait for."""
        return self._futures.keys()

    @asynccontextmanager
    async def expect(self, payment: UUID) -> AsyncIterator[WaitRecorded]:
        """Register for a payment until the end of the block; enter it before the command is published.

        If the events cannot arrive, nothing is waited for.
        """
        future: asyncio.Future[PaymentView] = asyncio.get_running_loop().create_future()

        async def wait_recorded(timeout: float) -> PaymentView | None:  # noqa: ASYNC109 - not an error when it is over
            if self._free and not future.done():
                self._free -= 1
                try:
                    await asyncio.wait([future], timeout=timeout)
                finally:
                    self._free += 1
            return future.result() if future.done() and not future.cancelled() else None

        self._futures[payment].add(future)
        try:
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self._needed())
                except Unavailable as error:  # the payment can still be accepted
                    log.warning("payment is not waited for: its event cannot arrive", reason=str(error))
                    future.cancel()
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
