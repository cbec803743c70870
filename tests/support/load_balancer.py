"""A balancer of TCP connections, as a load balancer in front of several gateways."""

import asyncio
from contextlib import suppress

_CHUNK = 1 << 16


class LoadBalancer:
    """Passes each new connection to the next of its backends; one to a removed backend lasts until it is closed."""

    def __init__(self) -> None:
        self._backends: list[int] = []
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """The address of its port."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, port: int) -> None:
        """Pass connections to this port of the loopback from now on, too."""
        self._backends.append(port)

    def remove(self, port: int) -> None:
        """Pass no new connection to this port any more."""
        self._backends.remove(port)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connected(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._backends.append(self._backends.pop(0))
        try:
            backend_reader, backend_writer = await asyncio.open_connection("127.0.0.1", self._backends[-1])
            try:
                await asyncio.gather(_pass(reader, backend_writer), _pass(backend_reader, writer))
            finally:
                backend_writer.close()
        finally:
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what arrives; the end of it ends the other direction, too."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()
