"""One leader at a time among the processes that share a database, and another one soon after it dies or hangs.

Who holds an advisory lock leads. PostgreSQL gives it to the next when the leader's session ends, and that it ends is
the server's own doing: a leader that has died closes its connection, one that hangs no longer asks anything, and a
session that has been idle for `LEASE` seconds is ended. So it depends on no clock but the server's. A process that hung
leads no more when it wakes, and finds its session gone; what it had begun to send elsewhere needs a guard there.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

import asyncpg

LEASE = 1.2
"""Seconds after which a leader that hangs is one no more."""
_BEAT = LEASE / 4
_DEADLINE = 5.0

_SERVER_SETTINGS = {
    "application_name": "mkstore leader",
    "idle_session_timeout": f"{LEASE * 1000:.0f}",
    "idle_in_transaction_session_timeout": f"{LEASE * 1000:.0f}",
    # One that hangs while it is being answered is not idle: its session waits for it to read on.
    "tcp_user_timeout": "1000",
    # One that waits for the lock and dies would keep its place in the queue, and its connection, until its turn.
    "client_connection_check_interval": "1000",
    # A database may have been given such limits for its other users: waiting for the lock takes as long as it takes.
    "statement_timeout": "0",
    "lock_timeout": "0",
}


class LeaderSession:
    """The leader's session with the database: whoever has it leads, and it ends when that is over."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()  # a connection does one thing at a time
        self._wake = asyncio.Event()

    async def listen(self, channel: str) -> None:
        """Let notifications on `channel` wake the leader; the end of the session does so too."""
        self._connection.add_termination_listener(lambda *_: self._wake.set())
        async with self._turn:
            await self._connection.add_listener(channel, lambda *_: self._wake.set())

    async def wait_notified(self, within: float) -> None:
        """Return at the next notification, or after so many seconds; one since the last call counts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._wake.wait()
        self._wake.clear()

    async def fetch(self, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Return the rows that a query finds."""
        async with self._turn:
            return await self._connection.fetch(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> None:
        """Run a statement."""
        async with self._turn:
            await self._connection.execute(query, *arguments)

    async def beat(self) -> NoReturn:
        """Keep the session from being idle, while whatever else is awaited; raises when it has ended."""
        while True:
            await self.execute("SELECT 1")
            await asyncio.sleep(_BEAT)


@asynccontextmanager
async def lead(dsn: str, lock: int) -> AsyncIterator[LeaderSession]:
    """Wait for the lock, and lead until the end of the block; its own work and `Session.beat` go on side by side.

    Raises what asyncpg raises for a server that is away or refuses.
    """
    connection = await asyncpg.connect(dsn, timeout=2, command_timeout=_DEADLINE, server_settings=_SERVER_SETTINGS)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", lock, timeout=float("inf"))
        yield LeaderSession(connection)
    finally:
        connection.terminate()  # a polite close could wait for a server that is not there
