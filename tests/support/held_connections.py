"""A database whose connections stay open for its clients after the server has closed them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import URL

from mkstore.stack import ports


@asynccontextmanager
async def held_connections(address: URL) -> AsyncIterator[URL]:
    """Proxy the database at `address`; yields the URL of the proxy, whose end resets the connections."""
    flows: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)

    async def accept(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(address.host, address.port)
        flows.add(asyncio.create_task(copy(client, to_server)))
        flows.add(asyncio.create_task(copy(server, to_client)))
        writers.extend([to_client, to_server])

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(accept, ports.LOOPBACK) as proxy:
        yield address.set(port=proxy.sockets[0].getsockname()[1])
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*flows)
