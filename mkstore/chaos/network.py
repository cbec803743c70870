"""Connections that can be cut, slowed down and left half open: a TCP proxy between a service and a server."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from mkstore.stack import ports

_CHUNK = 1 << 16
_DELAY_SECONDS = 0.2


class Mode(StrEnum):
    """What a link does with what it is given."""

    OPEN = "open"
    CUT = "cut"
    """Connections are reset, and new ones refused after they were taken."""
    DELAYED = "delayed"
    """Every piece of data arrives 200 ms later, in order."""
    HALF_OPEN = "half-open"
    """Nothing arrives and nobody is told: a firewall that forgot the connection, a cable that was pulled."""


@dataclass
class Link:
    """A way from one service to one server, through a port of its own."""

    name: str
    target: int
    port: int = field(default_factory=ports.free_port)
    mode: Mode = Mode.OPEN
    _flows: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on the loopback."""
        self._server = await asyncio.start_server(self._accept, ports.LOOPBACK, self.port)

    async def stop(self) -> None:
        """Listen no more, and end what is open."""
        if self._server is not None:
            self._server.close()
        self.set(Mode.CUT)
        await asyncio.gather(*self._connections)

    def set(self, mode: Mode) -> None:
        """Be like that from now on; what a half-open link swallowed is lost with its connections."""
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
            while self.mode is Mode.HALF_OPEN:  # taken by the system, answered by nobody
                await self._changed.wait()
            there_reader, there_writer = await asyncio.open_connection(ports.LOOPBACK, self.target)
            self._flows.add(there_writer)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._flow(reader, there_writer))
                    both.create_task(self._flow(there_reader, writer))
            except* OSError:
                pass  # one side is gone, and the other goes as well
            finally:
                self._flows.discard(there_writer)
                there_writer.transport.abort()
        except OSError:
            pass  # the server is away, and so is this connection
        finally:
            self._flows.discard(writer)
            writer.transport.abort()

    async def _flow(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Hand on what comes, as the link is at that moment; raises `OSError` at the end."""
        loop = asyncio.get_running_loop()
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)

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
                await due.put((loop.time() + (_DELAY_SECONDS if self.mode is Mode.DELAYED else 0.0), data))
