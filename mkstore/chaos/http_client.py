"""Asking the gateway, and knowing of every answer what it says about what was done."""

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
_PATIENCE = 15.0
_BAD_REQUEST = 400
_NOT_CONNECTED = "client error (Connect)"


class Outcome(Enum):
    """What somebody who asked knows."""

    DONE = auto()
    """It was answered with success."""
    REFUSED = auto()
    """It was answered with a problem that says that nothing was done."""
    NOT_SENT = auto()
    """Nobody took the connection."""
    UNKNOWN = auto()
    """The connection was lost, the answer did not come in time, or the gateway itself does not know (504)."""


@dataclass(frozen=True)
class Answer:
    """What came back; `status` is 0 and `code` the error's name where nothing did."""

    outcome: Outcome
    status: int
    code: str
    body: bytes
    headers: Mapping[str, str]
    """By name, in lower case."""
    began: float
    seconds: float

    @property
    def json(self) -> Any:
        """The body."""
        return loads(self.body)

    @property
    def is_away(self) -> bool:
        """Whether it may be asked again and get an answer: something is away, or was."""
        return self.status in {0, 503, 504}

    def __str__(self) -> str:
        """Say what it was, for a report."""
        return f"{self.status} {self.code} {self.body[:300].decode(errors='replace')}"


class Api:
    """The gateway's HTTP API on up to `connections` connections; `async with` closes them."""

    def __init__(self, url: str, connections: int = 200) -> None:
        self._builder = (
            ClientBuilder()
            .base_url(url)
            .max_connections(connections)
            .timeout(timedelta(seconds=_PATIENCE))
            .no_proxy()
            .follow_redirects(False)
        )
        self._client: Client

    async def __aenter__(self) -> Self:
        """Open."""
        self._client = await self._builder.build().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self._client.close()

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask; never raises because of what is away."""
        request = self._client.request(method, path).headers(dict(headers or {}))
        if token:
            request = request.bearer_auth(token)
        if json is not None:
            request = request.body_json(json)
        if form is not None:
            request = request.form(dict(form))
        began = time.monotonic()
        try:
            answer = await request.build().send()
            body = bytes(await answer.bytes())
        except RequestError as error:
            # The class does not tell: pyreqwest calls an answer that was cut off a ConnectError too.
            never_sent = any(_NOT_CONNECTED in cause["message"] for cause in error.details.get("causes") or ())
            outcome = Outcome.NOT_SENT if never_sent else Outcome.UNKNOWN
            return Answer(outcome, 0, type(error).__name__, b"", {}, began, time.monotonic() - began)
        code, outcome = "", Outcome.DONE
        if answer.status >= _BAD_REQUEST:
            is_problem = answer.get_header("content-type") == PROBLEM
            code = str(loads(body)["code"]) if is_problem else "no problem+json"
            outcome = Outcome.UNKNOWN if answer.status in {500, 504} else Outcome.REFUSED
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(outcome, answer.status, code, body, fields, began, time.monotonic() - began)
