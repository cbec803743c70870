"""HTTP over a plain socket, for what an HTTP client does not send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.polling import eventually

END = b"\r\n\r\n"


class Connection(NamedTuple):
    """One connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """Return the head of the next response."""
        return await asyncio.wait_for(self.reader.readuntil(END), 30)

    async def rest(self) -> bytes:
        """Return what the server sends until it closes the connection."""
        return await asyncio.wait_for(self.reader.read(), 30)

    async def reset(self) -> None:
        """Send until the server has closed the connection for good."""

        async def is_reset() -> bool:
            with suppress(ConnectionError):
                self.writer.write(b"x")
                await self.writer.drain()
                return False
            return True

        await eventually(is_reset)


@asynccontextmanager
async def connected(url: str, count: int = 1) -> AsyncIterator[list[Connection]]:
    """Connect this number of sockets until the end of the block."""
    address = urlsplit(url)
    opened = [Connection(*await asyncio.open_connection(address.hostname, address.port)) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.writer.close()
