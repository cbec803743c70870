"""A database whose connections stay open for its clients after the server has closed them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from sqlalchemy import URL

from mkstore.stack import ports


class HeldConnections(NamedTuple):
    """A proxy in front of a database; `address` is the proxy's."""

    address: URL
    server_closed: asyncio.Event

    async def wait_closed(self) -> None:
        """Wait until the server has closed a connection and the client has read everything before that."""
        await self.server_closed.wait()
        for _ in range(3):  # turns of the loop: the client's transport reads what the proxy has written
            await asyncio.sleep(0)


@asynccontextmanager
async def held_connections(address: URL) -> AsyncIterator[HeldConnections]:
    """Proxy the database at `address`; the end of the block resets the connections."""
    flows: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []
    server_closed = asyncio.Event()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)

    async def copy_replies(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        await copy(server, client)
        server_closed.set()

    async def accept(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(address.host, address.port)
        flows.add(asyncio.create_task(copy(client, to_server)))
        flows.add(asyncio.create_task(copy_replies(server, to_client)))
        writers.extend([to_client, to_server])

    async with await asyncio.start_server(accept, ports.LOOPBACK) as proxy:
        yield HeldConnections(address.set(port=proxy.sockets[0].getsockname()[1]), server_closed)
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*flows)
