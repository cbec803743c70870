"""Uvicorn settings for the gateway that `faststream run` has no option for."""

from typing import Any

from structlog.stdlib import get_logger
from uuid_utils.compat import uuid7
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apps.gateway.errors import MalformedRequest
from apps.gateway.http import problems
from contracts.headers import REQUEST_ID
from kit.runtime.tracing import Trace, new_traceparent, trace

log = get_logger(__name__)

KEEP_ALIVE_TIMEOUT = 75
"""Keep-alive timeout of idle connections, longer than that of usual clients and proxies."""


class ProblemProtocol(HttpToolsProtocol):
    """Refuse malformed HTTP (RFC 9112) with a problem; uvicorn's own response is plain text."""

    def send_400_response(self, msg: str) -> None:
        """Respond with a problem and close the connection: the start of the next request is unknown."""
        request_id = uuid7().hex
        trace.set(Trace(request_id, new_traceparent()))
        log.warning("malformed HTTP request", reason=msg)
        response = problems.problem_response(MalformedRequest())
        response.headers[REQUEST_ID] = request_id
        head = [b"HTTP/1.1 400 Bad Request", *map(b": ".join, response.raw_headers), b"", b""]
        self.transport.write(b"\r\n".join(head) + bytes(response.body))
        self.transport.close()


def configure_server(receive: Any) -> None:
    """Configure the uvicorn server behind `receive` of the ASGI lifespan; do nothing under another server.

    uvicorn closes an idle connection after 5 s, the moment when many clients still send on it; that request is lost.
    `faststream run` passes options on as strings, so it cannot set the number of seconds.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    if isinstance(config, Config):
        config.timeout_keep_alive = KEEP_ALIVE_TIMEOUT
        config.http_protocol_class = ProblemProtocol
