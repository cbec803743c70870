"""Uvicorn for the gateway: what `faststream run` has no option for, and responses in one write."""

import asyncio
from functools import partial
from typing import Any, cast

from starlette.types import Message, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from apps.gateway.http.protocol import ConnectionLimits, Connections, GatewayProtocol

KEEP_ALIVE_TIMEOUT = 75
"""Keep-alive timeout of idle connections, longer than that of usual clients and proxies."""

_FIELDS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
"""Fields of every response. uvicorn adds them to the date once a second, so they cost nothing per request."""
_CONNECTION_HEADERS = frozenset({b"connection", b"transfer-encoding"})


def configure_server(
    receive: Any, connections: Connections, hsts_max_age: int = 0, limits: ConnectionLimits | None = None
) -> None:
    """Configure the uvicorn server behind `receive` of the ASGI lifespan; do nothing under another server.

    uvicorn closes an idle connection after 5 s, the moment when many clients still send on it; that request is lost.
    `faststream run` passes options on as strings, so it cannot set the number of seconds. With `hsts_max_age`, in
    seconds, browsers use TLS only (RFC 6797). Its connections join `connections`.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    if not isinstance(config, Config):
        return
    config.timeout_keep_alive = KEEP_ALIVE_TIMEOUT
    protocol = partial(GatewayProtocol, limits=limits or ConnectionLimits(), connections=connections)
    config.http_protocol_class = cast("type[asyncio.Protocol]", protocol)  # uvicorn only calls it
    config.encoded_headers = list(_FIELDS)  # instead of `server`
    if hsts_max_age:
        config.encoded_headers.append((b"strict-transport-security", b"max-age=%d" % hsts_max_age))


class _DefaultFields:
    """The header fields that uvicorn adds to each response; it makes a new list of them each second."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._joined = b""

    def joined(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the fields as they are sent."""
        if headers is not self._headers:
            self._headers, self._joined = headers, b"".join(b"%s: %s\r\n" % field for field in headers)
        return self._joined


_default_fields = _DefaultFields()


def write_response(send: Send, method: str, start: Message, body: Message) -> bool:
    """Write a whole response to the socket at once; return False, without effect, if it has to be sent by `send`.

    uvicorn's `send` writes head and body separately: two system calls of about 5 µs each, and two segments on the wire.
    This does what it does for a response with a `Content-Length` and one part. Everything else is left to `send`:
    streams, `HEAD`, headers that concern the connection, invalid headers, a slow reader, another server.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or cycle.response_started or cycle.flow.write_paused:
        return False
    if method == "HEAD" or body.get("more_body"):
        return False
    names, values = zip(*start["headers"], strict=True)
    content = body.get("body", b"")
    if _CONNECTION_HEADERS.intersection(names) or (b"content-length", b"%d" % len(content)) not in start["headers"]:
        return False
    if HEADER_RE.search(b"".join(names)) or HEADER_VALUE_RE.search(b"".join(values)):
        return False
    if cycle.disconnected:
        return True
    head = [STATUS_LINE[start["status"]], _default_fields.joined(cycle.default_headers)]
    for name, value in start["headers"]:
        head += (name, b": ", value, b"\r\n")
    head += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", content)
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(head))
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
