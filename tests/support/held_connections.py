"""A database whose connections stay open for its clients after the server has closed them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import URL

from mkstore.stack import ports


@asynccontextmanager
async def held_connections(address: URL) -> AsyncIterator[URL]:
    """Proxy the database at `address`; yields the URL of the proxy, whose end resets the connections."""
    clients: set[asyncio.StreamWriter] = set()

    async def forward(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        clients.add(to_client)
        server, to_server = await asyncio.open_connection(address.host, address.port)

        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)

        with suppress(ConnectionError):
            await asyncio.gather(copy(client, to_server), copy(server, to_client))
        to_server.close()

    async with await asyncio.start_server(forward, ports.LOOPBACK) as proxy:
        yield address.set(port=proxy.sockets[0].getsockname()[1])
        for writer in clients:
            writer.transport.abort()
