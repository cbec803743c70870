"""Subscriptions on demand: events arrive only while something in the process needs them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from kit.errors import NATS, Unavailable
from kit.messaging.follower import Follower

Needed = Callable[[], AbstractAsyncContextManager[int]]
"""`Demand.needed`, or `always`."""

LINGER_TIME = 10.0
"""Seconds for which a subscription that nothing needs any more goes on, so that the next need finds it."""
START_TIMEOUT = 2.0
"""Seconds until a subscription must have begun."""


@asynccontextmanager
async def always() -> AsyncIterator[int]:
    """Need events that arrive anyway."""
    yield 0


class Demand:
    """Counts who needs the events of a subscription, which exists on the server only while somebody does.

    `linger_time` and `start_timeout` are in seconds.
    """

    def __init__(self, *, linger_time: float = LINGER_TIME, start_timeout: float = START_TIMEOUT) -> None:
        self._linger_time = linger_time
        self._start_timeout = start_timeout
        self._follow: Callable[[], Follower | None] | None = None
        self._count = 0
        self._until = 0.0

    def bind(self, follow: Callable[[], Follower | None]) -> None:
        """Use `follow`, which returns the running follower or starts one; it returns None in memory."""
        self._follow = follow

    @asynccontextmanager
    async def needed(self) -> AsyncIterator[int]:
        """Receive events until the end of the block, at least those that are stored after it has begun.

        Yields the sequence after which no event is missed; 0 in memory. Raises `Unavailable` if NATS does not answer.
        """
        self._count += 1
        try:
            yield await self._started()
        finally:
            self._count -= 1
            self._until = asyncio.get_running_loop().time() + self._linger_time

    def is_over(self) -> bool:
        """Return whether nothing has needed the events for the linger time."""
        return not self._count and asyncio.get_running_loop().time() >= self._until

    async def _started(self) -> int:
        follower = self._follow() if self._follow else None
        if follower is None:
            return 0
        try:
            async with asyncio.timeout(self._start_timeout):
                await follower.started.wait()
        except TimeoutError:
            raise Unavailable(NATS) from None
        return follower.position or 0
