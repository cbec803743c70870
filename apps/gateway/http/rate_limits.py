"""Rate limits per caller, address and account (the `limits` library), with RateLimit headers."""

import hashlib
import time
from collections.abc import Mapping

from limits import RateLimitItem, parse
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string
from starlette.responses import Response

from apps.gateway.errors import TooManyRequests


class RateLimits:
    """The limits by name, such as "10/minute", counted in `storage`; nothing is counted unless `enabled`."""

    def __init__(self, limits: Mapping[str, str], storage: Storage, *, enabled: bool) -> None:
        self._enabled = enabled
        self._strategy = SlidingWindowCounterRateLimiter(storage)
        self._items = {name: parse(limit) for name, limit in limits.items()}

    async def hit(self, name: str, key: str, response: Response | None = None) -> None:
        """Count one request of `key` against the limit `name`. Raises `TooManyRequests` if it is used up."""
        if not self._enabled:
            return
        item = self._items[name]
        if not await self._strategy.hit(item, name, key):
            raise TooManyRequests(name, await self._headers(name, item, key, refused=True))
        if response is not None:
            response.headers.update(await self._headers(name, item, key))

    async def count(self, name: str, *key: str) -> None:
        """Count against the limit `name`; never refuse."""
        if self._enabled:
            await self._strategy.hit(self._items[name], name, *key)

    async def check(self, name: str, *key: str) -> None:
        """Check the limit `name` without counting. Raises `TooManyRequests` if it is used up for `key`."""
        item = self._items[name]
        if self._enabled and not await self._strategy.test(item, name, *key):
            raise TooManyRequests(name, await self._headers(name, item, *key, refused=True))

    async def _headers(self, name: str, item: RateLimitItem, *key: str, refused: bool = False) -> dict[str, str]:
        stats = await self._strategy.get_window_stats(item, name, *key)
        wait = max(1, round(stats.reset_time - time.time()))
        # The fields of the IETF draft "RateLimit header fields for HTTP".
        return {
            "RateLimit-Policy": f'"{name}";q={item.amount};w={item.get_expiry()}',
            "RateLimit": f'"{name}";r={max(0, stats.remaining)};t={wait}',
        } | ({"Retry-After": str(wait)} if refused else {})


def open_storage(uri: str) -> Storage:
    """Return the storage for a URI of the `limits` library. Raises `ValueError` if it is not an async one."""
    storage = storage_from_string(uri)
    if not isinstance(storage, Storage):
        raise ValueError(f"rate_limit_storage must begin with async+, unlike {uri.partition(':')[0]}")  # noqa: TRY004
    return storage


def account(email: str) -> str:
    """Return the key of an account: a hash, so that no email is stored."""
    return hashlib.sha256(email.strip().lower().encode("utf-8", "replace")).hexdigest()
