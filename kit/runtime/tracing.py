"""Which request a piece of work belongs to, carried across processes in message headers."""

import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from typing import NamedTuple

REQUEST_ID = "X-Request-Id"
TRACEPARENT = "traceparent"


class Trace(NamedTuple):
    """The request that is worked on: its id and its W3C Trace Context, each empty where there is none."""

    request_id: str = ""
    traceparent: str = ""

    def headers(self) -> dict[str, str]:
        """Return what tells the next process which request this is."""
        pairs = ((REQUEST_ID, self.request_id), (TRACEPARENT, self.traceparent))
        return {name: value for name, value in pairs if value}


trace: ContextVar[Trace] = ContextVar("trace", default=Trace())  # noqa: B039 - a NamedTuple does not change
"""The trace of the task at hand."""


def set_trace(headers: Mapping[str, str] | None) -> None:
    """Take up, for the current task, the request that `headers` tell of."""
    headers = headers or {}
    trace.set(Trace(headers.get(REQUEST_ID, ""), headers.get(TRACEPARENT, "")))


def new_traceparent() -> str:
    """Begin a trace: a sampled W3C `traceparent` of version 00."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
