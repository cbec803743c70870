"""The connection pool: it bounds, reuses and replaces connections."""

import asyncio
from typing import Any

import pytest

from kit.connection_pool import ConnectionPool


class FakeConnection:
    """Fake of an asyncpg connection."""

    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True

    async def close(self) -> None:
        self.closed = True


class Server:
    """A server that counts its connections, and refuses them while `down`."""

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []
        self.down = False

    async def connect(self) -> Any:
        if self.down:
            raise ConnectionRefusedError
        self.connections.append(FakeConnection())
        return self.connections[-1]


async def test_released_connection_is_used_again() -> None:
    server = Server()
    pool = ConnectionPool(server.connect, 2)
    first = await pool.acquire()
    second = await pool.acquire()
    pool.release(first)
    pool.release(second)
    assert await pool.acquire() is second
    assert len(server.connections) == 2


async def test_full_pool_refuses_after_the_wait_timeout() -> None:
    pool = ConnectionPool(Server().connect, 1, wait_timeout=0.01)
    connection = await pool.acquire()
    with pytest.raises(TimeoutError):
        await pool.acquire()
    pool.release(connection)
    assert await pool.acquire() is connection


async def test_waiting_caller_gets_the_released_connection() -> None:
    pool = ConnectionPool(Server().connect, 1)
    connection = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(connection)
    assert await waiting is connection


async def test_cancelled_caller_leaves_its_place_to_the_next() -> None:
    pool = ConnectionPool(Server().connect, 1)
    connection = await pool.acquire()
    cancelled, waiting = asyncio.create_task(pool.acquire()), asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(connection)
    cancelled.cancel()
    assert await waiting is connection
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_connection_that_died_while_idle_is_replaced() -> None:
    server = Server()
    pool = ConnectionPool(server.connect, 1)
    dead = await pool.acquire()
    pool.release(dead)
    server.connections[0].closed = True
    replacement: Any = await pool.acquire()
    assert replacement is server.connections[1]


async def test_failed_connect_keeps_its_place_free() -> None:
    server = Server()
    pool = ConnectionPool(server.connect, 1, wait_timeout=0.01)
    server.down = True
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await pool.acquire()
    server.down = False
    connected: Any = await pool.acquire()
    assert connected is server.connections[0]


async def test_discarded_connections_are_closed_and_replaced() -> None:
    server = Server()
    pool = ConnectionPool(server.connect, 2)
    broken, idle = await pool.acquire(), await pool.acquire()
    pool.release(idle)
    pool.discard(broken)
    pool.discard_idle()
    assert [connection.closed for connection in server.connections] == [True, True]
    await pool.acquire()
    await pool.acquire()
    assert len(server.connections) == 4


async def test_close_ends_idle_connections() -> None:
    server = Server()
    pool = ConnectionPool(server.connect, 1)
    pool.release(await pool.acquire())
    await pool.close()
    assert server.connections[0].closed
