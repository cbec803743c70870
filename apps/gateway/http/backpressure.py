"""What the gateway does under pressure: so many requests at once and no more, and each is answered in its time."""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from apps.gateway.errors import AtCapacity
from apps.gateway.http.problems import problem_response
from kit.errors import OutcomeUnknown

Found = TypeVar("Found")

_REQUESTS, _STREAMS, _PASSWORDS = "requests", "event streams", "requests with a password"
_SHORTEST = 0.05
"""Seconds that are left for the last step, however late it is: what is there answers sooner."""


class _Time:
    """The time of one request; it begins with the first thing that is asked for it, not with a slow upload."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: float | None = None

    def remaining(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._ends is None:
            self._ends = now + self._seconds
        return max(_SHORTEST, self._ends - now)


_time: ContextVar[_Time | None] = ContextVar("time", default=None)


def remaining(most: float) -> float:
    """Return how many seconds one step of the request at hand may take: `most`, or what is left of its time."""
    time = _time.get()
    return most if time is None else min(most, time.remaining())


async def with_deadline(work: Awaitable[Found], most: float, what: str) -> Found:
    """Await what others may hold up, in the time of the request at hand; raises `OutcomeUnknown` of `what` after it."""
    try:
        async with asyncio.timeout(remaining(most)):
            return await work
    except TimeoutError as error:
        raise OutcomeUnknown(what) from error


def _kind(method: str, path: str) -> str:
    if path == "/events":
        return _STREAMS
    if (method, path) in {("POST", "/auth/token"), ("POST", "/users")} or path.endswith("/password"):
        return _PASSWORDS
    return _REQUESTS


class ConcurrencyLimit:
    """Serves so many requests at once, and so many event streams; refuses the others with 503 and `Retry-After`.

    Those with a password have a number of their own: each costs a hash, and of a thousand none would be in time.

    What waits takes memory, and a caller who is told late has gone. Health is never refused: whoever asks for it would
    restart the process.
    """

    def __init__(
        self, app: ASGIApp, *, requests: int, streams: int, seconds: float, passwords: int | None = None
    ) -> None:
        self._app = app
        self._seconds = seconds
        self._free = {_REQUESTS: requests, _STREAMS: streams, _PASSWORDS: requests if passwords is None else passwords}
        self._most = dict(self._free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"].startswith("/health"):
            await self._app(scope, receive, send)
            return
        kind = _kind(scope["method"], scope["path"])
        if not self._free[kind]:
            await problem_response(AtCapacity(kind, self._most[kind]))(scope, receive, send)
            return
        self._free[kind] -= 1
        before = _time.set(_Time(self._seconds))
        try:
            await self._app(scope, receive, send)
        finally:
            _time.reset(before)
            self._free[kind] += 1
