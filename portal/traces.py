"""The spans of a request, as the receiver of `mkstore up` returns them, and a client of that receiver."""

import asyncio
import http.client
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ValidationError

from kit.errors import Unavailable

RECEIVER = "receiver of traces"
"""Name of the receiver in the text of refusals."""
_TIMEOUT = 2.0
"""Seconds for an answer of the receiver."""
_MAX_BYTES = 16 << 20

Value = str | bool | int | float | list[str]
"""The value of an attribute."""


class SpanView(BaseModel):
    """A span; `offset` is since the start of the request, and it and `duration` are in microseconds.

    `parent` is the span above it on the page: the one that caused it or, of a span that works for several requests, the
    first one of this request that it is linked to. `links` are all of those.
    """

    id: str
    parent: str = ""
    trace: str
    service: str
    instance: str
    name: str
    kind: str
    offset: int
    duration: int
    depth: int
    failed: bool = False
    links: Sequence[str] = ()
    attributes: Mapping[str, Value] = {}
    events: Sequence[str] = ()


class RequestSummary(BaseModel):
    """A request: its route, status and number of spans; `duration` in microseconds is that of the response."""

    id: str
    name: str
    status: int | None = None
    started_at: datetime
    duration: int
    spans: int


class RequestView(RequestSummary):
    """A request with its spans, each one after the span above it; `left_out` is the number of further spans."""

    services: Sequence[str]
    tree: Sequence[SpanView]
    left_out: int = 0


class RequestList(BaseModel):
    """The last requests, newest first; `kept` is the number of spans that the receiver keeps at most."""

    requests: Sequence[RequestSummary]
    kept: int


class Traces(Protocol):
    """A source of the spans of requests."""

    async def newest(self) -> RequestList:
        """Return the last requests. Raises `Unavailable` if they cannot be read."""

    async def request(self, request_id: str) -> RequestView | None:
        """Return the spans of a request, None if there are none. Raises `Unavailable` if they cannot be read."""


class ReceivedTraces:
    """Reads traces from the receiver of `mkstore up`; `url` has the receiver's secret in its path."""

    def __init__(self, url: str, timeout: float = _TIMEOUT) -> None:
        parts = urlsplit(url)
        self._address, self._path = parts.netloc, parts.path.rstrip("/")
        self._timeout = timeout

    async def newest(self) -> RequestList:
        """Return the last requests. Raises `Unavailable` if the receiver does not answer in time."""
        body = await self._get("/requests")
        try:
            return RequestList.model_validate_json(body or b"")
        except ValidationError as error:
            raise Unavailable(RECEIVER) from error

    async def request(self, request_id: str) -> RequestView | None:
        """Return the spans of a request, None if there are none. Raises `Unavailable` as `newest` does."""
        body = await self._get(f"/requests/{quote(request_id, safe='')}")
        try:
            return None if body is None else RequestView.model_validate_json(body)
        except ValidationError as error:
            raise Unavailable(RECEIVER) from error

    async def _get(self, path: str) -> bytes | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(self._read, path)
        except (OSError, http.client.HTTPException) as error:  # a timeout is an OSError
            raise Unavailable(RECEIVER) from error

    def _read(self, path: str) -> bytes | None:
        # Not `urllib.request`: it sends the secret in the path to the proxy that the environment names.
        connection = http.client.HTTPConnection(self._address, timeout=self._timeout)
        try:
            connection.request("GET", f"{self._path}{path}", headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(_MAX_BYTES)
        finally:
            connection.close()
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status != HTTPStatus.OK:
            raise http.client.HTTPException(f"status {response.status}")
        return body
