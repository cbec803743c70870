"""Backpressure: a limit of concurrent requests, and a deadline for each."""

import time
from collections import Counter
from collections.abc import Callable, Collection
from contextvars import ContextVar
from functools import partial
from typing import TypeVar
from uuid import UUID

from apps.gateway.errors import AtCapacity, TooManyEventStreams
from kit.batching import Loader
from kit.errors import OutcomeUnknown
from kit.runtime.measurements import Level, sum_of_processes

Item = TypeVar("Item")
Result = TypeVar("Result")

_REQUESTS, _STREAMS, _PASSWORDS = "requests", "event streams", "requests with a password"
_PASSWORD_PATHS = frozenset({"/auth/sessions", "/users"})
_IN_USE = sum_of_processes(
    "mkstore_http_requests_in_progress", "Requests that are served now, by the kind of their place.", ("kind",)
)
_MIN_TIMEOUT = 0.05
"""Seconds that every step may take, even if the request is late: a dependency that is up replies sooner."""


class Place:
    """The place of one request, and its deadline, which begins with the first call to a service."""

    def __init__(self, kind: str, timeout: float, clock: Callable[[], float]) -> None:
        self.kind = kind
        self.streaming: UUID | None = None
        """The caller whose event stream this request is."""
        self._timeout = timeout
        self._clock = clock
        self._ends: float | None = None

    def remaining(self) -> float:
        """Return the seconds that are left."""
        now = self._clock()
        if self._ends is None:
            self._ends = now + self._timeout
        return max(_MIN_TIMEOUT, self._ends - now)


_place: ContextVar[Place | None] = ContextVar("place", default=None)


def remaining(limit: float) -> float:
    """Return the seconds that the next step of this request may take: what is left, at most `limit`."""
    place = _place.get()
    return limit if place is None else min(limit, place.remaining())


async def with_deadline(load: Loader[Item, Result], item: Item, limit: float, what: str) -> Result:
    """Load `item` in the time that this request has left. Raises `OutcomeUnknown`, naming `what`, after it."""
    try:
        return await load.within(remaining(limit), item)
    except TimeoutError as error:
        raise OutcomeUnknown(what) from error


def levels(capacity: "Capacity") -> list[Level]:
    """Return a gauge for each kind of place, of how many are taken."""
    return [Level(_IN_USE.labels(kind), partial(capacity.in_use, kind)) for kind in capacity.kinds]


def _kind(method: str, path: str) -> str:
    if path.endswith("/password") or (method == "POST" and path in _PASSWORD_PATHS):
        return _PASSWORDS
    return _REQUESTS


class Capacity:
    """The requests and event streams that are served at once; more are refused with 503 and `Retry-After`.

    A queue would take memory, and its clients would be gone before their turn. Requests with a password have a separate
    limit: each costs a password hash, and of a thousand hashes at once none would be in time. Health probes are not
    limited: the prober would restart the process. An event stream is a request until its caller is known. `timeout` is
    the time of one request for the services, in seconds; `clock` is monotonic.
    """

    def __init__(
        self,
        *,
        requests: int,
        streams: int,
        timeout: float,
        passwords: int | None = None,
        streams_per_caller: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._clock = clock
        self._free = {_REQUESTS: requests, _STREAMS: streams, _PASSWORDS: requests if passwords is None else passwords}
        self._limits = dict(self._free)
        self._streams_per_caller = streams_per_caller
        self._open_streams: Counter[UUID] = Counter()

    def acquire(self, method: str, path: str) -> Place | None:
        """Take a place for a request and start its deadline; return what `release` needs, None if it needs no place.

        Raises `AtCapacity` if no place is free.
        """
        if path.startswith("/health"):
            return None
        kind = _kind(method, path)
        self._take(kind)
        place = Place(kind, self._timeout, self._clock)
        _place.set(place)
        return place

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of places."""
        return self._limits.keys()

    def in_use(self, kind: str) -> int:
        """Return how many places of a kind are taken."""
        return self._limits[kind] - self._free[kind]

    def become_stream(self, caller: UUID) -> None:
        """Exchange the place of the current request for that of an event stream of `caller`.

        Raises `TooManyEventStreams` if the caller has enough of them, `AtCapacity` if the process has.
        """
        place = _place.get()
        if place is None:
            return  # served without the middleware
        if self._open_streams[caller] >= self._streams_per_caller:
            raise TooManyEventStreams(self._streams_per_caller)
        self._take(_STREAMS)
        self._free[place.kind] += 1
        self._open_streams[caller] += 1
        place.kind, place.streaming = _STREAMS, caller

    def release(self, place: Place | None) -> None:
        """Free the place of a request that has ended."""
        if place is None:
            return
        self._free[place.kind] += 1
        _place.set(None)
        if place.streaming:
            self._open_streams[place.streaming] -= 1
            if not self._open_streams[place.streaming]:
                del self._open_streams[place.streaming]

    def _take(self, kind: str) -> None:
        if not self._free[kind]:
            raise AtCapacity(kind, self._limits[kind])
        self._free[kind] -= 1
