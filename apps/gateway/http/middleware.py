"""The one ASGI layer around the API: request ids, limits, capacity, access log, responses in one write."""

import time
from collections.abc import Callable, Mapping
from http import HTTPMethod, HTTPStatus
from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.gateway.http.access_log import Access, AccessLog
from apps.gateway.http.addresses import address_key, address_of
from apps.gateway.http.backpressure import Capacity
from apps.gateway.http.body_limits import BodyLimits
from apps.gateway.http.hosts import Hosts
from apps.gateway.http.problems import problem_response
from apps.gateway.http.rate_limits import BY_PATH, RateLimits
from apps.gateway.http.request_ids import HEADER, trace_of
from apps.gateway.http.server import write_response
from kit.errors import Refusal
from kit.runtime.measurements import Durations
from kit.runtime.spans import Span, begin
from kit.runtime.tracing import trace

_NO_STORE = (b"cache-control", b"no-store")
_OF_CONTENT = frozenset({b"content-type", b"content-length"})
"""FastAPI sends a type with 204, which has no content (RFC 9110, 8.6 and 15.3.5)."""
_ENDLESS = "/events"
"""A GET of it does not end, so it has no HEAD."""
_METHODS = frozenset(HTTPMethod)
_DURATIONS = Durations(
    "mkstore_http_request_duration_seconds",
    "Time of HTTP requests, event streams included, by method, path of the route and status.",
    ("method", "route", "status"),
)

Wrap = Callable[[ASGIApp], ASGIApp]
"""Returns an application with a layer around it, such as CORS."""


class Middleware:
    """Serves requests with `app`: each further layer would cost 5 to 10 µs per request.

    Every response has an `X-Request-Id` and a `Cache-Control`. A request is counted against the limits of its address,
    and its body is read, before it takes a place. Health probes are not counted. HEAD is a GET without its body. `wrap`
    is put around `app` and around the refusals of this layer. Without `access_log` no line is written. `clock` is
    monotonic, in seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        capacity: Capacity,
        rate_limits: RateLimits,
        access_log: AccessLog | None = None,
        *,
        body_limits: BodyLimits | None = None,
        wrap: Wrap | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wrap = wrap or _unchanged
        self._app = self._wrap(app)
        self._capacity = capacity
        self._rate_limits = rate_limits
        self._body_limits = body_limits or BodyLimits()
        self._access_log = access_log
        self._hosts = Hosts()
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        headers = dict(scope["headers"])
        span = begin(scope["method"], "SERVER", trace_of(headers))
        current = trace.get()
        response = _Response(send, scope["method"], current.request_id)
        if scope["method"] == "HEAD" and scope["path"] != _ENDLESS:
            scope = {**scope, "method": "GET"}
        place = None
        try:
            if headers.get(b"host") not in self._hosts.known or len(headers) < len(scope["headers"]):
                self._hosts.check(scope["headers"], scope["http_version"])
            if not scope["path"].startswith("/health"):
                await self._rate_limits.hit("address", address_key(address_of(scope)))
            if b"content-length" in headers or b"transfer-encoding" in headers:
                if scope["path"] in BY_PATH and scope["method"] == "POST":
                    await self._rate_limits.hit(BY_PATH[scope["path"]], address_key(address_of(scope)), response)
                receive = await self._body_limits.read(scope, headers, receive)
            place = self._capacity.acquire(scope["method"], scope["path"])
            await self._app(scope, receive, response.send)
        except Refusal as refusal:  # of this layer: the API answers its own
            await self._wrap(problem_response(refusal))(scope, receive, response.send)
        finally:
            self._capacity.release(place)
            seconds = self._clock() - started
            _DURATIONS.observe((_known(response.method), _route(scope) or "none", str(response.status)), seconds)
            if span.is_recorded:
                _describe(span, scope, response, current.request_id)
                span.end()
            if self._access_log:
                self._access_log.add(
                    Access(
                        ended_at=time.time(),
                        seconds=seconds,
                        method=response.method,
                        path=_path(scope),
                        status=response.status,
                        request_id=current.request_id,
                        trace_id=current.trace_id,
                        caller=_caller(scope),
                    )
                )


class _Response:
    """The response to one request; adds its id, and keeps its head until the first part of the body (as ASGI says)."""

    def __init__(self, send: Send, method: str, request_id: str) -> None:
        self._send = send
        self.method = method
        self._request_id = (HEADER, request_id.encode())
        self._usage: list[tuple[bytes, bytes]] = []
        self._start: Message | None = None
        self.status = 500
        """That of the server if the application fails without a response."""

    def update(self, fields: Mapping[str, str]) -> None:
        """Add the usage of a limit to the response, unless it is a refusal by another limit."""
        self._usage += [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        start = self._start
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), self._request_id]
            if self.status == HTTPStatus.NO_CONTENT:
                headers = [field for field in headers if field[0] not in _OF_CONTENT]
            for name, _ in headers:
                if name == b"cache-control":
                    break
            else:
                headers.append(_NO_STORE)
            if self._usage and self.status != HTTPStatus.TOO_MANY_REQUESTS:  # that names another limit
                headers += self._usage
            self._start = {**message, "headers": headers}
        elif start is None:
            await self._send(message)
        else:
            self._start = None
            if self.method == "HEAD":
                message = {**message, "body": b""}
            if not write_response(self._send, self.method, start, message):
                await self._send(start)
                await self._send(message)


def _describe(span: Span, scope: Scope, response: _Response, request_id: str) -> None:
    """Name a span by OpenTelemetry's conventions for HTTP servers, without the query and the ids in the path."""
    route = _route(scope)
    span.rename(f"{response.method} {route}" if route else response.method)
    span.add(
        {
            "http.request.method": response.method,
            "http.response.status_code": response.status,
            "http.request.header.x-request-id": [request_id],
            "url.scheme": scope["scheme"],
        }
        | ({"http.route": route} if route else {})
        | ({"user.id": str(caller)} if (caller := _caller(scope)) else {})
    )
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(response.status))


def _unchanged(app: ASGIApp) -> ASGIApp:
    return app


def _path(scope: Scope) -> str:
    """Return the path of the route, such as `/users/{user_id}`; without a route, the path of the request."""
    return _route(scope) or str(scope["path"])


def _route(scope: Scope) -> str | None:
    """Return the path of the route, such as `/users/{user_id}`; None if no route has the path of the request."""
    route: str | None = getattr(scope.get("route"), "path", None)
    return route


def _known(method: str) -> str:
    """Return the method, or `other`: a client chooses its name, and each would be a further metric."""
    return method if method in _METHODS else "other"


def _caller(scope: Scope) -> UUID | None:
    """Return the id of the user whose token the request had."""
    caller: UUID | None = scope.get("state", {}).get("caller")
    return caller
