"""The modes of a link."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from mkstore.chaos.network import Link, Mode
from mkstore.stack import ports

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """Return a link to an echo server."""

    talking: set[asyncio.Task[Any] | None] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.add(asyncio.current_task())
        with suppress(OSError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, ports.LOOPBACK, 0)
    link = Link("here-there", server.sockets[0].getsockname()[1])
    await link.start()
    yield link
    await link.stop()
    server.close()
    await asyncio.gather(*(task for task in talking if task))


class Caller:
    """Connects to the link, and disconnects at the end of the test."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open: list[asyncio.StreamWriter] = []

    async def __call__(self) -> Connection:
        reader, writer = await asyncio.open_connection(ports.LOOPBACK, self._link.port)
        self._open.append(writer)
        return reader, writer

    def hang_up(self) -> None:
        for writer in self._open:
            writer.transport.abort()


@pytest.fixture
def connect(link: Link) -> Iterator[Caller]:
    caller = Caller(link)
    yield caller
    caller.hang_up()


async def say(connection: Connection, text: bytes, timeout: float = 5.0) -> bytes:
    reader, writer = connection
    async with asyncio.timeout(timeout):
        writer.write(text)
        return await reader.read(1000)


async def test_open_link_forwards_data_and_closes_with_its_peers(connect: Caller) -> None:
    reader, writer = connection = await connect()
    assert await say(connection, b"hello") == b"hello"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_cut_link_resets_open_and_new_connections(link: Link, connect: Caller) -> None:
    before = await connect()
    assert await say(before, b"hello") == b"hello"
    link.set(Mode.CUT)
    with pytest.raises(ConnectionError):
        await say(before, b"hello")
    with pytest.raises(ConnectionError):
        await say(await connect(), b"hello")
    link.set(Mode.OPEN)
    after = await connect()
    assert await say(after, b"again") == b"again"


async def test_delayed_link_keeps_the_order(link: Link, connect: Caller) -> None:
    link.set(Mode.DELAYED)
    reader, writer = await connect()
    began = asyncio.get_running_loop().time()
    writer.writelines([b"1", b"2", b"3"])
    assert await asyncio.wait_for(reader.readexactly(3), 5) == b"123"
    assert asyncio.get_running_loop().time() - began >= 0.4, "200 ms there and 200 ms back"


async def test_half_open_link_drops_data_without_an_error(link: Link, connect: Caller) -> None:
    before = await connect()
    assert await say(before, b"hello") == b"hello"
    link.set(Mode.HALF_OPEN)
    with pytest.raises(TimeoutError):
        await say(before, b"hello", timeout=0.5)
    meanwhile = await connect()
    with pytest.raises(TimeoutError):
        await say(meanwhile, b"hello", timeout=0.5)
    link.set(Mode.OPEN)
    with pytest.raises(ConnectionError):
        await say(before, b"hello")
    after = await connect()
    assert await say(after, b"again") == b"again"
