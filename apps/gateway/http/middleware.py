"""The one ASGI layer around the API: request ids, capacity, size limit, access log, responses in one write."""

import time
from collections.abc import Callable
from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.gateway.http.access_log import Access, AccessLog
from apps.gateway.http.backpressure import Capacity
from apps.gateway.http.body_limits import BodyLimit
from apps.gateway.http.problems import problem_response
from apps.gateway.http.request_ids import HEADER, trace_of
from apps.gateway.http.server import write_response
from kit.errors import Refusal
from kit.runtime.tracing import trace


class Middleware:
    """Serves requests with `app`: each further layer would cost 5 to 10 µs per request.

    Every response has an `X-Request-Id`. Without `access_log` no line is written. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        capacity: Capacity,
        body_limit: BodyLimit,
        access_log: AccessLog | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._capacity = capacity
        self._body_limit = body_limit
        self._access_log = access_log
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        headers = dict(scope["headers"])
        current = trace_of(headers)
        trace.set(current)
        response = _Response(send, scope["method"], current.request_id)
        place = None
        try:
            place = self._capacity.acquire(scope["method"], scope["path"])
            await self._body_limit.check(headers, receive)
            await self._app(scope, self._body_limit.limited(receive), response.send)
        except Refusal as refusal:  # of this layer: the API answers its own
            await problem_response(refusal)(scope, receive, response.send)
        finally:
            self._capacity.release(place)
            if self._access_log:
                self._access_log.add(
                    Access(
                        ended_at=time.time(),
                        seconds=self._clock() - started,
                        method=scope["method"],
                        path=_path(scope),
                        status=response.status,
                        request_id=current.request_id,
                        caller=_caller(scope),
                    )
                )


class _Response:
    """The response to one request; adds its id, and keeps its head until the first part of the body (as ASGI says)."""

    def __init__(self, send: Send, method: str, request_id: str) -> None:
        self._send = send
        self._method = method
        self._request_id = (HEADER, request_id.encode())
        self._start: Message | None = None
        self.status = 500
        """That of the server if the application fails without a response."""

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        start = self._start
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._start = {**message, "headers": [*message.get("headers", ()), self._request_id]}
        elif start is None:
            await self._send(message)
        else:
            self._start = None
            if not write_response(self._send, self._method, start, message):
                await self._send(start)
                await self._send(message)


def _path(scope: Scope) -> str:
    """Return the path of the route, such as `/users/{user_id}`; without a route, the path of the request."""
    path: str = getattr(scope.get("route"), "path", None) or scope["path"]
    return path


def _caller(scope: Scope) -> UUID | None:
    """Return the id of the user whose token the request had."""
    caller: UUID | None = scope.get("state", {}).get("caller")
    return caller
