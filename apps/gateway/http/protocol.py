"""The HTTP protocol of the gateway's connections: what uvicorn leaves open is bounded here, see docs/adr/0028."""

import asyncio
from enum import Enum
from typing import Any, NamedTuple

from structlog.stdlib import get_logger
from uuid_utils.compat import uuid7
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apps.gateway.errors import GatewayRefusal, HeadersTooLarge, MalformedRequest, RequestTimeout
from apps.gateway.http import problems
from apps.gateway.http.body_limits import LATE
from contracts.headers import REQUEST_ID
from kit.runtime.tracing import Trace, new_traceparent, trace

log = get_logger(__name__)

_SLICE = 4096
"""Bytes that are parsed at once: the parser does not say where in them a header section begins or ends."""
_MAX_DISCARDED = 4 << 20
"""Bytes that are discarded after a refusal: to close earlier resets the connection, and the client loses the answer."""


class ConnectionLimits(NamedTuple):
    """The limits of one connection. Times are in seconds, and up to `sweep_interval` longer."""

    header_bytes: int = 32 * 1024
    header_timeout: float = 10.0
    """Time for a header section; a new connection must send its first one in this time."""
    body_timeout: float = 10.0
    linger_timeout: float = 5.0
    """Time for the client to read a refusal and to close the connection."""
    sweep_interval: float = 1.0
    closing_time: float = 1.0
    """Time for a request that is on its way when the server stops; it is answered, and then the connection closes."""


_DEFAULTS = ConnectionLimits()


class _Stage(Enum):
    """What the connection waits for."""

    HEAD = "a header section"
    BODY = "the rest of a body"
    IDLE = "the response, or the next request"
    REFUSED = "its end"


# Python 3.11 calls a descriptor for each `_Stage.HEAD`, six times per request.
_HEAD, _BODY, _IDLE, _REFUSED = _Stage


class Connections:
    """The open connections, each checked at an interval: one timer per process, instead of one per request."""

    def __init__(self, interval: float = _DEFAULTS.sweep_interval) -> None:
        self._interval = interval
        self._connections: set[GatewayProtocol] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.is_draining = False
        """Whether each response ends its connection, so that clients go to another process."""

    def add(self, connection: "GatewayProtocol") -> None:
        """Check this connection from now on."""
        self._connections.add(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(self._interval, self._run, connection.loop)

    def discard(self, connection: "GatewayProtocol") -> None:
        """Check this connection no longer."""
        self._connections.discard(connection)
        if self._timer and not self._connections:
            self._timer.cancel()
            self._timer = None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._interval, self._run, loop)
        for connection in tuple(self._connections):
            connection.check(loop.time())


class GatewayProtocol(HttpToolsProtocol):
    """HTTP without uvicorn's access log, which costs 20 µs per request, with problems, and with limits.

    Malformed HTTP (RFC 9112), a header section that is too large or late, and a late body are refused with a problem.
    Without `connections` the connection is checked alone.
    """

    def __init__(
        self,
        *arguments: Any,
        limits: ConnectionLimits = _DEFAULTS,
        connections: Connections | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.access_log = False
        self._limits = limits
        self._others = connections or Connections(limits.sweep_interval)
        self._stage: _Stage = _HEAD
        self._since = self.loop.time()
        self._header_bytes = 0
        """Bytes of the current header section; with pipelining also the end of the message before it."""
        self._is_closing = False
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first header section."""
        super().connection_made(transport)
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._others.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, at most `_SLICE` bytes and at most the rest of a header section at once."""
        if self._header_bytes + len(data) <= _SLICE:
            self._parse(data)
            return
        while data and not self.transport.is_closing():
            size = min(_SLICE, self._limits.header_bytes - self._header_bytes)
            self._parse(data[:size])
            data = data[size:]

    def _parse(self, data: bytes) -> None:
        if self._stage is _REFUSED:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.transport.close()
            return
        super().data_received(data)
        if self._stage is _HEAD:
            self._header_bytes += len(data)
            if self._header_bytes >= self._limits.header_bytes:
                self._refuse(HeadersTooLarge(self._limits.header_bytes))

    def on_message_begin(self) -> None:
        """Begin a message; the first one of a connection began with the connection."""
        super().on_message_begin()
        if self._stage is not _HEAD:
            self._stage = _HEAD
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Start the request, and begin to wait for its body."""
        super().on_headers_complete()
        if self._is_closing or self._others.is_draining:
            self.cycle.keep_alive = False
        self._stage = _BODY
        self._since = self.loop.time()
        self._header_bytes = 0

    def on_message_complete(self) -> None:
        """End the message."""
        super().on_message_complete()
        self._stage = _IDLE

    def check(self, now: float) -> None:
        """Refuse or close the connection if the client is too late; `now` is the time of the event loop."""
        if self._stage is _IDLE:
            # Bytes that begin no message, such as empty lines, have stopped uvicorn's keep-alive timer.
            if self.cycle.response_complete and self.timeout_keep_alive_task is None:
                self._stage, self._since = _HEAD, now
            return
        if self.flow.read_paused or (self._stage is _REFUSED and self._is_serving()):
            self._since = now  # it waits for the gateway, not for the client
            return
        age = now - self._since
        if self._stage is _HEAD and age >= self._limits.header_timeout:
            if self._header_bytes:
                self._refuse(RequestTimeout("header section", self._limits.header_timeout))
            else:
                self.transport.close()
        elif self._stage is _BODY and age >= self._limits.body_timeout:
            if self.cycle.response_started:
                self.transport.close()
            else:
                self.cycle.scope["state"][LATE] = self._limits.body_timeout
                self.cycle.message_event.set()
        elif self._stage is _REFUSED and age >= self._limits.linger_timeout:
            self.transport.close()

    def shutdown(self) -> None:
        """Close when the request in progress is answered or, between two requests, after `closing_time` without one.

        uvicorn closes a connection between two requests at once, and a request that is on its way is lost.
        """
        self._is_closing = True
        if self._is_serving():
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(self._limits.closing_time, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._is_serving():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse malformed HTTP."""
        log.warning("malformed HTTP request", reason=msg)
        self._refuse(MalformedRequest())

    def _is_serving(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _refuse(self, refusal: GatewayRefusal) -> None:
        """Respond with a problem and end the connection: where the next request begins is unknown."""
        stage, self._stage, self._since = self._stage, _REFUSED, self.loop.time()
        self._header_bytes = 0
        if self._is_serving():
            if stage is not _BODY or self.cycle.response_started or self.pipeline:
                self.cycle.keep_alive = False  # the requests before it are answered first
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        request_id = uuid7().hex
        trace.set(Trace(request_id, new_traceparent()))
        response = problems.problem_response(refusal)
        response.headers[REQUEST_ID] = request_id
        response.headers["Cache-Control"] = "no-store"
        status = response.status_code
        fields = [*self.server_state.default_headers, *response.raw_headers]
        head = [f"HTTP/1.1 {status} {problems.PHRASES[status]}".encode(), *map(b": ".join, fields), b"", b""]
        self.transport.write(b"\r\n".join(head) + bytes(response.body))
        if self.transport.can_write_eof():
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
