"""Backpressure: a limit of concurrent requests, and a deadline for each."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from apps.gateway.errors import AtCapacity
from kit.batching import BatchLoader
from kit.errors import OutcomeUnknown

Item = TypeVar("Item")
Result = TypeVar("Result")

_REQUESTS, _STREAMS, _PASSWORDS = "requests", "event streams", "requests with a password"
_PASSWORD_PATHS = frozenset({"/auth/token", "/users"})
_MIN_TIMEOUT = 0.05
"""Seconds that every step may take, even if the request is late: a dependency that is up replies sooner."""


class _Deadline:
    """The deadline of one request; it begins with the first call to a service, not with a slow upload."""

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._timeout = timeout
        self._clock = clock
        self._ends: float | None = None

    def remaining(self) -> float:
        now = self._clock()
        if self._ends is None:
            self._ends = now + self._timeout
        return max(_MIN_TIMEOUT, self._ends - now)


_deadline: ContextVar[_Deadline | None] = ContextVar("deadline", default=None)


def remaining(limit: float) -> float:
    """Return the seconds that the next step of this request may take: what is left, at most `limit`."""
    deadline = _deadline.get()
    return limit if deadline is None else min(limit, deadline.remaining())


async def with_deadline(load: BatchLoader[Item, Result], item: Item, limit: float, what: str) -> Result:
    """Load `item` in the time that this request has left. Raises `OutcomeUnknown`, naming `what`, after it."""
    try:
        return await load.within(remaining(limit), item)
    except TimeoutError as error:
        raise OutcomeUnknown(what) from error


def _kind(method: str, path: str) -> str:
    if path == "/events":
        return _STREAMS
    if path.endswith("/password") or (method == "POST" and path in _PASSWORD_PATHS):
        return _PASSWORDS
    return _REQUESTS


class Capacity:
    """The requests and event streams that are served at once; more are refused with 503 and `Retry-After`.

    A queue would take memory, and its clients would be gone before their turn. Requests with a password have a separate
    limit: each costs a password hash, and of a thousand hashes at once none would be in time. Health probes are not
    limited: the prober would restart the process. `timeout` is the time of one request for the services, in seconds;
    `clock` is monotonic.
    """

    def __init__(
        self,
        *,
        requests: int,
        streams: int,
        timeout: float,
        passwords: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._clock = clock
        self._free = {_REQUESTS: requests, _STREAMS: streams, _PASSWORDS: requests if passwords is None else passwords}
        self._limits = dict(self._free)

    def acquire(self, method: str, path: str) -> str | None:
        """Take a place for a request and start its deadline; return what `release` needs, None if it needs no place.

        Raises `AtCapacity` if no place is free.
        """
        if path.startswith("/health"):
            return None
        kind = _kind(method, path)
        if not self._free[kind]:
            raise AtCapacity(kind, self._limits[kind])
        self._free[kind] -= 1
        _deadline.set(_Deadline(self._timeout, self._clock))
        return kind

    def release(self, kind: str | None) -> None:
        """Free the place of a request that has ended."""
        if kind is not None:
            self._free[kind] += 1
            _deadline.set(None)
