"""Request ids and traces: taken from the request if they are valid, otherwise new."""

import re
from collections.abc import Mapping
from uuid import UUID

from uuid_utils import uuid7

from contracts.headers import REQUEST_ID
from kit.runtime import spans
from kit.runtime.tracing import TRACEPARENT, Trace, new_traceparent

HEADER = REQUEST_ID.lower().encode()
"""Name of the header of requests and responses, as ASGI has it."""
_PARENT = TRACEPARENT.encode()

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-?)(?:[0-9A-Fa-f]{4}\1){3}[0-9A-Fa-f]{12}")
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_of(headers: Mapping[bytes, bytes]) -> Trace:
    """Return the `X-Request-Id` and `traceparent` (W3C) of a request, each new if it is absent or invalid.

    While spans are recorded, the first one of the request begins a new trace.
    """
    given_id, given_parent = headers.get(HEADER), headers.get(_PARENT)
    request_id = given_id.decode() if given_id and _REQUEST_ID.fullmatch(given_id) else uuid7().hex
    if given_parent and _TRACEPARENT.fullmatch(given_parent):
        return Trace(request_id, given_parent.decode())
    return Trace(request_id, "" if spans.are_recorded() else new_traceparent())


def urn_of(request_id: str) -> str | None:
    """Return the URN of a request id (RFC 9562, section 4), or None if it is not a UUID: clients choose any text."""
    return f"urn:uuid:{UUID(request_id)}" if _UUID.fullmatch(request_id) else None
