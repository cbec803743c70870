"""Rate limits per caller and address, with RateLimit headers."""

from collections.abc import Mapping
from typing import Protocol

from apps.gateway.errors import TooManyRequests
from apps.gateway.http.request_counters import RequestCounter, Usage
from kit.runtime.measurements import Counts

BY_PATH = {"/users": "sign_up", "/auth/sessions": "session", "/auth/sessions/refresh": "session"}
"""Limits per address of a `POST` that needs no token, by path: counted before the body is read."""

_THROTTLED = Counts("mkstore_throttled_requests_total", "Requests that a rate limit refused.", ("limit",))


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
            _THROTTLED.add((name,))
            raise TooManyRequests(name, limit_fields(name, counter.amount, counter.window, usage))
        if headers is not None:
            headers.update(limit_fields(name, counter.amount, counter.window, usage))


def limit_fields(name: str, amount: int, window: int, usage: Usage) -> dict[str, str]:
    """Return the fields of the IETF draft "RateLimit header fields for HTTP"; of a refusal also `Retry-After`.

    The limit allows `amount` requests in `window` seconds.
    """
    wait = max(1, round(usage.reset))
    headers = {
        "RateLimit-Policy": f'"{name}";q={amount};w={window}',
        "RateLimit": f'"{name}";r={max(0, usage.remaining)};t={wait}',
    }
    return headers if usage.allowed else headers | {"Retry-After": str(wait)}
