"""The request that the current task works for, carried across processes in message headers."""

from collections.abc import Mapping
from contextvars import ContextVar
from random import getrandbits
from typing import NamedTuple, Self

from contracts.headers import REQUEST_ID

TRACEPARENT = "traceparent"
_SAMPLED = "13579bdf"
"""Last digits of a `traceparent` whose lowest bit, the flag `sampled`, is set."""


class Trace(NamedTuple):
    """The id of a request and its W3C Trace Context; each is empty if there is none."""

    request_id: str = ""
    traceparent: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str] | None) -> Self:
        """Return the trace that message headers carry."""
        headers = headers or {}
        return cls(headers.get(REQUEST_ID, ""), headers.get(TRACEPARENT, ""))

    @property
    def trace_id(self) -> str:
        """The id of the trace, 32 hexadecimal digits; empty if there is none."""
        return self.traceparent[3:35]

    @property
    def is_sampled(self) -> bool:
        """Whether the spans of the trace are recorded, as its beginning has decided."""
        return self.traceparent[-1:] in _SAMPLED and bool(self.traceparent)

    def headers(self) -> dict[str, str]:
        """Return the headers that carry this trace to the next process."""
        pairs = ((REQUEST_ID, self.request_id), (TRACEPARENT, self.traceparent))
        return {name: value for name, value in pairs if value}


trace: ContextVar[Trace] = ContextVar("trace", default=Trace())  # noqa: B039 - a NamedTuple is immutable
"""The trace of the current task."""


def set_trace(headers: Mapping[str, str] | None) -> None:
    """Set the trace of the current task from message headers."""
    trace.set(Trace.of(headers))


def new_traceparent() -> str:
    """Return the `traceparent` of a new sampled trace (W3C Trace Context, version 00)."""
    # Not secret, and a system call for secret ones costs 2 µs. Python seeds `random` at the start and after a fork.
    ids = f"{getrandbits(192):048x}"
    return f"00-{ids[:32]}-{ids[32:]}-01"
