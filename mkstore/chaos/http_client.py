"""A client of the gateway that classifies each response by what the caller then knows."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from json import loads
from typing import Any, Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError

PROBLEM = "application/problem+json"
_REQUEST_TIMEOUT = 15.0
_BAD_REQUEST = 400
_NOT_CONNECTED = "client error (Connect)"


class Outcome(Enum):
    """What the caller of a request knows."""

    DONE = auto()
    """It succeeded."""
    REFUSED = auto()
    """It was refused with a problem: nothing was done."""
    NOT_SENT = auto()
    """The connection was refused."""
    UNKNOWN = auto()
    """The connection was lost, the request timed out, or the gateway itself does not know (500, 504)."""


@dataclass(frozen=True)
class Answer:
    """A response; without one, `status` is 0 and `code` the name of the error."""

    outcome: Outcome
    status: int
    code: str
    body: bytes
    headers: Mapping[str, str]
    """By lower-case name."""
    began: float
    seconds: float

    @property
    def json(self) -> Any:
        """The body."""
        return loads(self.body)

    @property
    def is_unavailable(self) -> bool:
        """Whether something is or was unavailable, so that a retry makes sense."""
        return self.status in {0, 503, 504}

    def __str__(self) -> str:
        """Return status, code and the begin of the body, for a report."""
        return f"{self.status} {self.code} {self.body[:300].decode(errors='replace')}"


class Api:
    """The gateway's HTTP API over at most `connections` connections; use it with `async with`."""

    def __init__(self, url: str, connections: int = 200) -> None:
        self._builder = (
            ClientBuilder()
            .base_url(url)
            .max_connections(connections)
            .timeout(timedelta(seconds=_REQUEST_TIMEOUT))
            .no_proxy()
            .follow_redirects(False)
        )
        self._client: Client

    async def __aenter__(self) -> Self:
        """Open the client."""
        self._client = await self._builder.build().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._client.close()

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request; a failed connection is an `Answer` too."""
        request = self._client.request(method, path).headers(dict(headers or {}))
        if token:
            request = request.bearer_auth(token)
        if json is not None:
            request = request.body_json(json)
        if body is not None:
            request = request.body_bytes(body)
        began = time.monotonic()
        try:
            answer = await request.build().send()
            content = bytes(await answer.bytes())
        except RequestError as error:
            # Not the class: pyreqwest also raises ConnectError when the connection is lost after the request was sent.
            never_sent = any(_NOT_CONNECTED in cause["message"] for cause in error.details.get("causes") or ())
            outcome = Outcome.NOT_SENT if never_sent else Outcome.UNKNOWN
            return Answer(outcome, 0, type(error).__name__, b"", {}, began, time.monotonic() - began)
        code, outcome = "", Outcome.DONE
        if answer.status >= _BAD_REQUEST:
            is_problem = answer.get_header("content-type") == PROBLEM
            code = str(loads(content)["code"]) if is_problem else "no problem+json"
            outcome = Outcome.UNKNOWN if answer.status in {500, 504} else Outcome.REFUSED
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(outcome, answer.status, code, content, fields, began, time.monotonic() - began)
