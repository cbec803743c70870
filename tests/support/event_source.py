"""A client of the event stream that reconnects as browsers do (WHATWG HTML, server-sent events)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from kit.runtime.tasks import cancel_and_wait
from tests.support.http_client import Caller
from tests.support.polling import eventually


@dataclass(frozen=True)
class Sent:
    """One received event."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass
class EventSource:
    """Reader of a caller's event stream; it reconnects with the last event id."""

    caller: Caller
    last_id: str = ""
    events: list[Sent] = field(default_factory=list)
    connections: int = 0
    endings: list[str] = field(default_factory=list)

    def payments(self) -> list[str]:
        """Return the ids of the payments in the received events, in order."""
        return [event.data["payment"]["id"] for event in self.events if event.type.startswith("payment.")]

    async def run(self, *, reconnect: bool) -> None:
        """Read until the server ends the stream; with `reconnect`, start again forever."""
        while True:
            try:
                await self._read()
                self.endings.append("ended")
            except httpx.TransportError as error:
                self.endings.append(type(error).__name__)
            if not reconnect:
                return
            await asyncio.sleep(0.05)

    async def _read(self) -> None:
        headers = self.caller.bearer | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        timeout = httpx.Timeout(10, read=40)  # an idle stream sends a comment every 15 s
        async with self.caller.http.stream("GET", "/events", headers=headers, timeout=timeout) as answer:
            if answer.status_code != 200:
                self.endings.append(str(answer.status_code))
                return
            assert answer.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                self._dispatch(fields)
                fields = {}

    def _dispatch(self, fields: dict[str, str]) -> None:
        if "id" in fields:
            self.last_id = fields["id"]
        if "retry" in fields:
            self.connections += 1
        if "data" in fields:
            self.events.append(Sent(self.last_id, fields["event"], json.loads(fields["data"])))


@asynccontextmanager
async def listening(caller: Caller, *, last_id: str = "", reconnect: bool = False) -> AsyncIterator[EventSource]:
    """Yield an open event source that is read in the background until the end of the block."""
    source = EventSource(caller, last_id)
    reading = asyncio.create_task(source.run(reconnect=reconnect))
    try:
        await eventually(lambda: source.connections or reading.done(), describe=lambda: str(source.endings))
        yield source
    finally:
        await cancel_and_wait([reading])
