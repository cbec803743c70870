"""What the gateway wants of the server below it, uvicorn, and `faststream run` has no option for."""

from http import HTTPStatus
from typing import Any

from structlog.stdlib import get_logger
from uuid_utils.compat import uuid7
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apps.gateway.http import problems
from kit.runtime.tracing import REQUEST_ID, Trace, new_traceparent, trace

log = get_logger(__name__)

KEEP_ALIVE_SECONDS = 75
"""An idle connection is kept for longer than clients and proxies keep theirs."""


class ProblemProtocol(HttpToolsProtocol):
    """Refuses what is no HTTP (RFC 9112) as everything else is refused: uvicorn's own answer is plain text."""

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem and close the connection: where the next request would begin is not known."""
        request_id = uuid7().hex
        trace.set(Trace(request_id, new_traceparent()))
        log.warning("refused what is no HTTP request", reason=msg)
        answer = problems.answer(
            HTTPStatus.BAD_REQUEST,
            "malformed-request",
            "This is no HTTP request; control characters in a header or an invalid request line are the usual reasons.",
            headers={REQUEST_ID: request_id, "Connection": "close"},
        )
        head = [b"HTTP/1.1 400 Bad Request", *(b": ".join(header) for header in answer.raw_headers), b"", b""]
        self.transport.write(b"\r\n".join(head) + bytes(answer.body))
        self.transport.close()


def configure_server(receive: Any) -> None:
    """Set up the uvicorn that calls an application for its start (`receive` of ASGI's lifespan); no other is touched.

    uvicorn closes an idle connection after the 5 s after which many clients send on it for the last time, and that
    request is lost. `faststream run` hands options on as strings, and the seconds are a number.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    if isinstance(config, Config):
        config.timeout_keep_alive = KEEP_ALIVE_SECONDS
        config.http_protocol_class = ProblemProtocol
