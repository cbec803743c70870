"""Counts that expire a fixed time after they began: in this process, or in a store that several gateways share.

The counters of `request_counters` slide and never go down. A count of guesses must go down again when a guess was
right, and be removed. See docs/adr/0027-guessing.md.
"""

import time
from collections.abc import Callable
from math import ceil
from typing import NamedTuple, Protocol

from limits.aio.storage import MemcachedStorage, MemoryStorage, Storage

_MAX_KEYS = 50_000
"""Keys per kind of count in memory, about 300 bytes each."""
_KEPT = 3 / 4
"""Part of the keys that stay when there are too many: removing some at once makes the search rare."""


class ExpiringCounts(Protocol):
    """One count per key; a key that is not counted, or is expired, has 0."""

    async def add(self, key: str, seconds: int) -> int:
        """Add one and return the count; a new one expires after `seconds`. Atomic."""

    async def give_back(self, key: str) -> None:
        """Subtract one."""

    async def count(self, key: str) -> int:
        """Return the count."""

    async def seconds_left(self, key: str) -> float:
        """Return the seconds until the count expires."""

    async def clear(self, key: str) -> None:
        """Remove the count."""


class _Count(NamedTuple):
    number: int
    expires: float


class MemoryCounts:
    """Counts in this process.

    Above `max_keys` the lowest counts are removed, the oldest of them first: a flood of new keys, which have a count of
    one, cannot displace what was counted often. `clock` is monotonic, in seconds.
    """

    def __init__(self, *, max_keys: int = _MAX_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    @property
    def keys(self) -> int:
        """Number of counts in memory."""
        return len(self._counts)

    async def add(self, key: str, seconds: int) -> int:
        """Add one and return the count; a new one expires after `seconds`."""
        now = self._clock()
        known = self._counts.get(key)
        if known is None or known.expires <= now:
            if len(self._counts) >= self._max_keys:
                self._make_room(now)
            self._counts[key] = _Count(1, now + seconds)
            return 1
        self._counts[key] = known._replace(number=known.number + 1)
        return known.number + 1

    async def give_back(self, key: str) -> None:
        """Subtract one; a count of nothing is removed."""
        known = self._counts.get(key)
        if known is None:
            return
        if known.number > 1:
            self._counts[key] = known._replace(number=known.number - 1)
        else:
            del self._counts[key]

    async def count(self, key: str) -> int:
        """Return the count."""
        known = self._counts.get(key)
        return 0 if known is None or known.expires <= self._clock() else known.number

    async def seconds_left(self, key: str) -> float:
        """Return the seconds until the count expires."""
        known = self._counts.get(key)
        return 0.0 if known is None else max(0.0, known.expires - self._clock())

    async def clear(self, key: str) -> None:
        """Remove the count."""
        self._counts.pop(key, None)

    def _make_room(self, now: float) -> None:
        """Remove expired counts, and then the lowest ones until a part is free."""
        self._counts = {key: count for key, count in self._counts.items() if count.expires > now}
        kept = int(self._max_keys * _KEPT)
        lowest = 1
        while (surplus := len(self._counts) - kept) > 0:
            low = [key for key, count in self._counts.items() if count.number <= lowest]
            for key in low[:surplus]:
                del self._counts[key]
            lowest *= 2


class StoredCounts:
    """Counts in a storage of the `limits` library, which several processes may share; `name` is the kind of count."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name

    async def add(self, key: str, seconds: int) -> int:
        """Add one and return the count; a new one expires after `seconds`."""
        return await self._storage.incr(self._key(key), ceil(seconds))

    async def give_back(self, key: str) -> None:
        """Subtract one; a count that expired meanwhile is below nothing for one second."""
        await self._storage.incr(self._key(key), 1, -1)

    async def count(self, key: str) -> int:
        """Return the count."""
        return await self._storage.get(self._key(key))

    async def seconds_left(self, key: str) -> float:
        """Return the seconds until the count expires."""
        return max(0.0, await self._storage.get_expiry(self._key(key)) - time.time())

    async def clear(self, key: str) -> None:
        """Remove the count."""
        await self._storage.clear(self._key(key))

    def _key(self, key: str) -> str:
        return f"guesses/{self._name}/{key}"


def open_counts(storage: Storage, name: str, *, clock: Callable[[], float] = time.monotonic) -> ExpiringCounts:
    """Return the counts of one kind in `storage`; those in memory use `clock`, which is monotonic, in seconds.

    Raises `ValueError` for memcached, whose counts cannot be given back: it has no negative increments.
    """
    if isinstance(storage, MemoryStorage):  # the library's own is unbounded, and searches all keys at each hit
        return MemoryCounts(clock=clock)
    if isinstance(storage, MemcachedStorage):
        raise ValueError("rate_limit_storage must not be memcached: its counts cannot be given back")  # noqa: TRY004
    return StoredCounts(storage, name)
