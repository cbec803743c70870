"""Rate limits per caller, address and account, with RateLimit headers."""

import hashlib
from collections.abc import Mapping
from typing import Protocol

from apps.gateway.errors import TooManyRequests
from apps.gateway.http.request_counters import RequestCounter, Usage


class Headers(Protocol):
    """The headers of a response, of Starlette or a dictionary."""

    def update(self, fields: Mapping[str, str], /) -> None:
        """Set these fields."""


class RateLimits:
    """The limits by name, each with its counter; nothing is counted unless `enabled`."""

    def __init__(self, counters: Mapping[str, RequestCounter], *, enabled: bool) -> None:
        self._enabled = enabled
        self._counters = counters

    async def hit(self, name: str, key: str, headers: Headers | None = None) -> None:
        """Count one request of `key` against the limit `name`; add the usage to `headers` of the response.

        Raises `TooManyRequests` if the limit is used up.
        """
        if not self._enabled:
            return
        counter = self._counters[name]
        usage = await counter.hit(key)
        if not usage.allowed:
            raise TooManyRequests(name, _headers(name, counter, usage))
        if headers is not None:
            headers.update(_headers(name, counter, usage))

    async def count(self, name: str, *key: str) -> None:
        """Count against the limit `name`; never refuse."""
        if self._enabled:
            await self._counters[name].hit("/".join(key))

    async def check(self, name: str, *key: str) -> None:
        """Check the limit `name` without counting. Raises `TooManyRequests` if it is used up for `key`."""
        if not self._enabled:
            return
        counter = self._counters[name]
        usage = await counter.usage("/".join(key))
        if not usage.allowed:
            raise TooManyRequests(name, _headers(name, counter, usage))


def _headers(name: str, counter: RequestCounter, usage: Usage) -> dict[str, str]:
    """Return the fields of the IETF draft "RateLimit header fields for HTTP"; of a refusal also `Retry-After`."""
    wait = max(1, round(usage.reset))
    headers = {
        "RateLimit-Policy": f'"{name}";q={counter.amount};w={counter.window}',
        "RateLimit": f'"{name}";r={max(0, usage.remaining)};t={wait}',
    }
    return headers if usage.allowed else headers | {"Retry-After": str(wait)}


def account(email: str) -> str:
    """Return the key of an account: a hash, so that no email is stored."""
    return hashlib.sha256(email.strip().lower().encode("utf-8", "replace")).hexdigest()
