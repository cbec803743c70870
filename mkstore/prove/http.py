"""Asking the gateway, and knowing of every answer what it says about what was done."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Self

import aiohttp

PROBLEM = "application/problem+json"
_PATIENCE = 15.0
_OK, _BAD_REQUEST = 200, 400


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
    began: float
    seconds: float

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

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
        self._url = url
        self._connections = connections
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open."""
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(
            self._url, connector=connector, timeout=aiohttp.ClientTimeout(total=_PATIENCE), trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self._session.close()

    async def __call__(
        self, method: str, path: str, *, token: str = "", headers: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        """Ask; never raises because of what is away. `more` is aiohttp's: json, data."""
        fields = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        began = time.monotonic()
        try:
            async with self._session.request(method, path, headers=fields, **more) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError as error:
            return self._nothing(Outcome.NOT_SENT, error, began)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, asyncio.IncompleteReadError) as error:
            return self._nothing(Outcome.UNKNOWN, error, began)
        code, outcome = "", Outcome.DONE
        if answer.status >= _BAD_REQUEST:
            is_problem = answer.headers.get("content-type") == PROBLEM
            code = str(json.loads(body)["code"]) if is_problem else "no problem+json"
            outcome = Outcome.UNKNOWN if answer.status in {500, 504} else Outcome.REFUSED
        return Answer(outcome, answer.status, code, body, answer.headers, began, time.monotonic() - began)

    def _nothing(self, outcome: Outcome, error: Exception, began: float) -> Answer:
        return Answer(outcome, 0, type(error).__name__, b"", {}, began, time.monotonic() - began)
