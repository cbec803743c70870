"""HTTP requests of the load: as bytes for wrk, and as single requests whose responses are checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from mkstore.chaos.http_client import Answer, Api

UNIQUE = "000UNIQUE000"
"""A part of a request that is different each time it is sent; see load.lua. As long as what replaces it."""
_JSON = "application/json"


@dataclass(frozen=True)
class Call:
    """One request, the statuses of a good response, and fields that the JSON body of its response has."""

    method: str
    path: str
    status: tuple[int, ...] = (200,)
    token: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = _JSON
    expected: Mapping[str, Any] = field(default_factory=dict)

    def raw(self, host: str) -> bytes:
        """Return the complete request for `host`."""
        fields = {"Host": host, **self._fields()}
        if self.body:
            fields["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    async def send(self, api: Api) -> Answer:
        """Send it once."""
        unique = uuid4().hex[: len(UNIQUE)]
        fields = {name: value.replace(UNIQUE, unique) for name, value in self._fields().items()}
        body = self.body.replace(UNIQUE.encode(), unique.encode())
        return await api(self.method, self.path, headers=fields, body=body or None)

    def fault(self, answer: Answer) -> str:
        """Return what is wrong with a response, or an empty text."""
        if answer.status not in self.status:
            return f"{self.method} {self.path}: {answer}"
        if not self.expected:
            return ""
        try:
            content = json.loads(answer.body)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            return f"{self.method} {self.path}: no JSON object: {answer}"
        wrong = {name: content.get(name) for name, value in self.expected.items() if content.get(name) != value}
        return f"{self.method} {self.path}: wrong content {wrong}" if wrong else ""

    def _fields(self) -> dict[str, str]:
        fields = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.body:
            fields["Content-Type"] = self.content_type
        return {**fields, **self.headers}


def json_call(method: str, path: str, content: Mapping[str, Any], **options: Any) -> Call:
    """Return a request with a JSON body; `options` are the other fields of `Call`."""
    return Call(method, path, body=json.dumps(content, separators=(",", ":")).encode(), **options)


def request_file(calls: Sequence[Call], url: str) -> bytes:
    """Return the content of the file that load.lua reads."""
    host = urlsplit(url).netloc
    return b"".join(call.raw(host) + b"\0" for call in calls)
