"""Counters of requests in a sliding window: in this process, or in a store that several gateways share.

Both count by the same rule (a "sliding window counter"): the requests of the current window, plus those of the previous
one in proportion to how much of it the last window's length still covers. See docs/adr/0016-rate-limiter.md.
"""

import time
from collections.abc import Callable, Mapping
from math import floor, inf
from typing import NamedTuple, Protocol

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

_MAX_KEYS = 100_000
"""Keys per limit and window in memory, about 150 bytes each."""


class Usage(NamedTuple):
    """How much of a limit one key has used."""

    allowed: bool
    """Whether the request is within the limit."""
    remaining: int
    """Requests that are left."""
    reset: float
    """Seconds until more are left."""


class RequestCounter(Protocol):
    """Counts the requests of each key against one limit."""

    amount: int
    """Requests that the limit allows per window."""
    window: int
    """Length of the window, in seconds."""

    async def hit(self, key: str) -> Usage:
        """Count one request, unless it exceeds the limit, and return the usage after it."""


class MemoryCounter:
    """Counts in this process.

    The counts of a window are one dictionary, dropped as a whole two windows later, so expired keys cost no search. A
    window with more than `max_keys` keys ends early: memory stays bounded when requests come from countless addresses.
    `clock` returns Unix time, in seconds.
    """

    def __init__(
        self, amount: int, window: int, *, max_keys: int = _MAX_KEYS, clock: Callable[[], float] = time.time
    ) -> None:
        self.amount = amount
        self.window = window
        self._max_keys = max_keys
        self._clock = clock
        self._started = 0.0
        self._current: dict[str, int] = {}
        self._previous: dict[str, int] = {}

    @property
    def keys(self) -> int:
        """Number of counts in memory."""
        return len(self._current) + len(self._previous)

    async def hit(self, key: str) -> Usage:
        """Count one request, unless it exceeds the limit, and return the usage after it."""
        left = self._left()
        before = self._previous.get(key, 0)
        count = self._current.get(key, 0) + 1
        if floor(before * left / self.window + count) > self.amount:
            return self._usage(left, before, count - 1, allowed=False)
        if count == 1 and len(self._current) >= self._max_keys:
            self._previous, self._current = self._current, {}
        self._current[key] = count
        return self._usage(left, before, count, allowed=True)

    def _left(self) -> float:
        """Return the seconds that are left of the current window; begin a new one if it is over."""
        age = self._clock() - self._started
        if age >= self.window:
            self._previous = self._current if age < 2 * self.window else {}
            self._current = {}
            self._started += age // self.window * self.window  # windows are aligned, as in the library
            age %= self.window
        return self.window - max(age, 0.0)

    def _usage(self, left: float, before: int, count: int, *, allowed: bool) -> Usage:
        remaining = max(0, self.amount - floor(before * left / self.window + count))
        reset = left if count else inf
        if before:
            reset = min(reset, left % (self.window / before))
        return Usage(allowed, remaining, 0.0 if reset == inf else reset)


class StoredCounter:
    """Counts in a storage of the `limits` library, which several processes may share."""

    def __init__(self, item: RateLimitItem, name: str, storage: Storage) -> None:
        self.amount = item.amount
        self.window = item.get_expiry()
        self._item = item
        self._name = name
        self._strategy = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, key: str) -> Usage:
        """Count one request, unless it exceeds the limit, and return the usage after it."""
        allowed = await self._strategy.hit(self._item, self._name, key)
        stats = await self._strategy.get_window_stats(self._item, self._name, key)
        return Usage(allowed, stats.remaining, stats.reset_time - time.time())


def open_storage(uri: str) -> Storage:
    """Return the storage of the `limits` library that `uri` names. Raises `ValueError` if it is not an async one."""
    storage = storage_from_string(uri)
    if not isinstance(storage, Storage):
        raise ValueError(f"rate_limit_storage must begin with async+, unlike {uri.partition(':')[0]}")  # noqa: TRY004
    return storage


def open_counters(
    limits: Mapping[str, str], storage: Storage, clock: Callable[[], float] = time.time
) -> dict[str, RequestCounter]:
    """Return a counter in `storage` per limit, such as "10/minute".

    Those in memory use `clock`, which returns Unix time, in seconds.
    """
    items = {name: parse(limit) for name, limit in limits.items()}
    if isinstance(storage, MemoryStorage):  # the library's own searches all keys in a task per turn of the event loop
        return {name: MemoryCounter(item.amount, item.get_expiry(), clock=clock) for name, item in items.items()}
    return {name: StoredCounter(item, name, storage) for name, item in items.items()}
