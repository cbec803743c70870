"""A client of GET /events in this process; httpx's ASGI transport returns a response only when it has ended."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

from mkstore.testing.polling import eventually


@dataclass(frozen=True)
class ReceivedEvent:
    """One received event."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass
class EventStream:
    """What an event stream has sent so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    ended: bool = False

    @property
    def blocks(self) -> list[dict[str, str]]:
        """The fields of each block."""
        blocks = self.text.split("\n\n")[:-1]
        return [dict(line.split(": ", 1) for line in block.split("\n") if ": " in line) for block in blocks]

    @property
    def events(self) -> list[ReceivedEvent]:
        """The events, without blocks that have only an id."""
        return [
            ReceivedEvent(block["id"], block["event"], json.loads(block["data"]))
            for block in self.blocks
            if "data" in block
        ]

    @property
    def last_id(self) -> str:
        """The `Last-Event-ID` with which a browser would resume."""
        return next(block["id"] for block in reversed(self.blocks) if "id" in block)

    async def until(self, count: int) -> list[ReceivedEvent]:
        """Return the events once there are `count`."""
        return await eventually(lambda: self.events if len(self.events) >= count else [], describe=lambda: self.text)

    async def end(self) -> None:
        """Wait until the server has ended the stream."""
        await eventually(lambda: self.ended, describe=lambda: self.text)


@asynccontextmanager
async def open_event_stream(app: ASGIApp, token: str, last_id: str | None = None) -> AsyncIterator[EventStream]:
    """Yield an open event stream; its client disconnects at the end of the block."""
    stream = EventStream()
    gone = asyncio.Event()
    requested = False

    async def receive() -> Message:
        nonlocal requested
        if not requested:
            requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            stream.status = message["status"]
            stream.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            stream.text += message.get("body", b"").decode()
            stream.ended = not message.get("more_body", False)

    headers = [(b"host", b"store"), (b"authorization", f"Bearer {token}".encode())]
    headers += [(b"last-event-id", last_id.encode())] if last_id else []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/events",
        "raw_path": b"/events",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("store", 80),
    }
    serving = asyncio.ensure_future(app(scope, receive, send))
    try:
        await eventually(lambda: stream.text or serving.done())
        yield stream
    finally:
        gone.set()
        await asyncio.wait_for(asyncio.gather(serving, return_exceptions=True), 30)
