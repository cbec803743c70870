"""A TCP proxy between a service and a server that can cut, delay or half-open the connections."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from mkstore.stack import ports

_CHUNK = 1 << 16
_DELAY = 0.2
_BUFFERED_CHUNKS = 64


class Mode(StrEnum):
    """What a link does with the data."""

    OPEN = "open"
    CUT = "cut"
    """Connections are reset, and new ones are reset after they were accepted."""
    DELAYED = "delayed"
    """All data arrives later (by default 200 ms), in order."""
    HALF_OPEN = "half-open"
    """Nothing arrives, without an error: a firewall that forgot the connection, or a pulled cable."""


@dataclass
class Link:
    """A proxied connection from one service to one server, on its own port; `delay` is in seconds."""

    name: str
    target: int
    port: int = field(default_factory=ports.free_port)
    mode: Mode = Mode.OPEN
    delay: float = _DELAY
    _flows: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on the loopback."""
        self._server = await asyncio.start_server(self._accept, ports.LOOPBACK, self.port)

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        self.set(Mode.CUT)
        await asyncio.gather(*self._connections)

    def set(self, mode: Mode) -> None:
        """Change the mode; leaving the half-open mode also resets its connections, whose data is lost."""
        if mode is Mode.CUT or self.mode is Mode.HALF_OPEN:
            for flow in self._flows:
                flow.transport.abort()
        self.mode = mode
        self._changed.set()
        self._changed = asyncio.Event()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connected(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.CUT:
            writer.transport.abort()
            return
        self._flows.add(writer)
        try:
            while self.mode is Mode.HALF_OPEN:  # accepted by the kernel, never answered
                await self._changed.wait()
            server_reader, server_writer = await asyncio.open_connection(ports.LOOPBACK, self.target)
            self._flows.add(server_writer)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._flow(reader, server_writer))
                    both.create_task(self._flow(server_reader, writer))
            except* OSError:
                pass  # one side has closed: close the other
            finally:
                self._flows.discard(server_writer)
                server_writer.transport.abort()
        except OSError:
            pass  # the server is down: close the connection
        finally:
            self._flows.discard(writer)
            writer.transport.abort()

    async def _flow(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Forward data in the current mode; raises `OSError` at the end of the stream."""
        loop = asyncio.get_running_loop()
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=_BUFFERED_CHUNKS)

        async def send() -> None:
            while True:
                at, data = await due.get()
                if not data:
                    raise ConnectionResetError
                await asyncio.sleep(max(0.0, at - loop.time()))
                if self.mode is not Mode.HALF_OPEN:
                    sink.write(data)
                    await sink.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(send())
            data = b"?"
            while data:
                data = await source.read(_CHUNK)
                await due.put((loop.time() + (self.delay if self.mode is Mode.DELAYED else 0.0), data))
