"""Leader election among the processes that share a database, by a PostgreSQL advisory lock.

The process that holds the lock leads. PostgreSQL gives the lock to the next process when the leader's session ends, and
the server ends it: a process that dies closes its connection, one that hangs stops querying, and a session that is idle
for the lease is terminated. So leadership depends on the server's clock only. A process that hung and resumes
finds its session gone; the writes that it had begun elsewhere need fencing there.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

import asyncpg

from kit.connection import connect, limit_transactions

LEASE = 1.2
"""Seconds after which a leader that hangs loses the lead."""
_CONNECT_TIMEOUT = 2.0
_COMMAND_TIMEOUT = 5.0
_KEEP_ALIVES_PER_LEASE = 4
_LEASES_PER_TRANSACTION = 4
"""A leader that hangs within a new statement is not idle: the limit of its transaction ends the session."""

_SERVER_SETTINGS = {
    "application_name": "mkstore leader",
    # A leader that hangs while it receives a result is not idle: its session waits for the client to read on.
    "tcp_user_timeout": "1000",
    # A process that dies while it waits for the lock would keep its connection, and its place, until its turn.
    "client_connection_check_interval": "1000",
    # The database may have such limits for its other users; waiting for the lock has none.
    "statement_timeout": "0",
    "lock_timeout": "0",
}


class LeaderSession:
    """The leader's session with the database: its holder leads until the session ends."""

    def __init__(self, connection: asyncpg.Connection, lease: float) -> None:
        self._connection = connection
        self._keep_alive_interval = lease / _KEEP_ALIVES_PER_LEASE
        self._turn = asyncio.Lock()  # a connection runs one statement at a time
        self._wake = asyncio.Event()

    async def listen(self, channel: str) -> None:
        """Wake the leader on each notification on `channel`, and when the session ends."""
        self._connection.add_termination_listener(lambda *_: self._wake.set())
        async with self._statement():
            await self._connection.add_listener(channel, lambda *_: self._wake.set())

    async def wait_notified(self, timeout: float) -> None:  # noqa: ASYNC109 - the end of the wait, not a failure
        """Wait for a notification, at most `timeout` seconds; one since the last call returns at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        self._wake.clear()

    async def fetch(self, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Run a query and return its rows."""
        async with self._statement():
            return await self._connection.fetch(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> None:
        """Run a statement."""
        async with self._statement():
            await self._connection.execute(query, *arguments)

    async def keep_alive(self) -> NoReturn:
        """Query regularly, so that the session is not idle while the leader works. Raises if the session has ended."""
        while True:
            await self.execute("SELECT 1")
            await asyncio.sleep(self._keep_alive_interval)

    @asynccontextmanager
    async def _statement(self) -> AsyncIterator[None]:
        """Wait until the connection is free for a statement. Raises `asyncpg.InterfaceError` if the session has ended.

        Between the server's last message and the end of the connection asyncpg 0.32 raises `InternalClientError`.
        """
        async with self._turn:
            try:
                yield
            except asyncpg.InternalClientError as error:
                raise asyncpg.InterfaceError("the server has ended the session") from error


@asynccontextmanager
async def lead(dsn: str, lock: int, *, lease: float = LEASE) -> AsyncIterator[LeaderSession]:
    """Wait for the lock and lead until the end of the block, which runs `LeaderSession.keep_alive` beside its work.

    The server ends a session that is idle for `lease` seconds.

    Raises asyncpg's errors if the server is unavailable or rejects a statement.
    """
    milliseconds = f"{lease * 1000:.0f}"
    limits = {"idle_session_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
    connection = await connect(
        dsn,
        transaction_timeout=0,  # waiting for the lock has no limit
        timeout=_CONNECT_TIMEOUT,
        command_timeout=_COMMAND_TIMEOUT,
        server_settings=_SERVER_SETTINGS | limits,
    )
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", lock, timeout=float("inf"))
        await limit_transactions(connection, _LEASES_PER_TRANSACTION * lease)
        yield LeaderSession(connection, lease)
    finally:
        connection.terminate()  # a graceful close could wait for a server that is gone
