"""Many clients of `GET /events` in one process: they keep what arrives, with the time, and parse it afterwards."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mkstore.bench.load.target import Account
from mkstore.stack.ports import LOOPBACK

_OPEN_AT_ONCE = 50
_OPEN_TIMEOUT = 30.0
_DATA = b"data: "


@dataclass(frozen=True)
class Received:
    """One event, and the time at which it arrived."""

    at: float
    content: dict[str, Any]


class EventClient(asyncio.Protocol):
    """One open stream."""

    def __init__(self, account: Account, host: str) -> None:
        self.account = account
        self.count = 0
        """Events that have arrived."""
        self.opened = asyncio.Event()
        self.is_closed = False
        self._host = host
        self._pieces: list[tuple[float, bytes]] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy: a TCP connection has one
        self._transport = transport
        head = f"GET /events HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self.account.token}\r\n\r\n"
        transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        """Keep what arrives."""
        self._pieces.append((time.time(), data))
        self.count += data.count(_DATA)
        self.opened.set()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - a Protocol
        """Remember that the stream has ended."""
        self.is_closed = True
        self.opened.set()

    def close(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.close()

    @property
    def status_line(self) -> str:
        """The first line of the response."""
        return self._pieces[0][1].partition(b"\r\n")[0].decode(errors="replace") if self._pieces else "no response"

    def events(self) -> Iterator[Received]:
        """Yield the events in the order of their arrival."""
        rest = b""
        for at, data in self._pieces:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(_DATA):
                    yield Received(at, json.loads(line.removeprefix(_DATA)))


async def open_streams(url: str, accounts: Sequence[Account]) -> list[EventClient]:
    """Open a stream for each account; return the clients once each has a response.

    Raises `TimeoutError` after 30 s.
    """
    address = urlsplit(url)
    loop, limit = asyncio.get_running_loop(), asyncio.Semaphore(_OPEN_AT_ONCE)
    clients = [EventClient(account, address.netloc) for account in accounts]

    async def connect(client: EventClient) -> None:
        async with limit:
            await loop.create_connection(lambda: client, address.hostname or LOOPBACK, address.port or 80)
            await client.opened.wait()

    async with asyncio.timeout(_OPEN_TIMEOUT):
        await asyncio.gather(*map(connect, clients))
    return clients
