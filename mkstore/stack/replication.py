"""Keeps the two PostgreSQL servers of a cluster in their roles: fences, promotes, and watches the standby."""

import asyncio
from collections.abc import Callable, Sequence

import asyncpg

from kit.ops.replication import StandbyWatch, watch
from mkstore.stack.servers.postgres_pair import PostgresNode

_CONNECT_TIMEOUT = 1.0
_COMMAND_TIMEOUT = 15.0
_FIRST_COPY_TIMEOUT = 30.0
_POLL_INTERVAL = 0.1
_PROMOTE = "SELECT pg_promote(true, 10)"


class Replication:
    """The primary and the standby of one run; which one is which stands in their `copies`, and `mkstore promote` there.

    `say` prints a line about each change, `changed` is called when the primary has become another one.
    """

    def __init__(self, nodes: Sequence[PostgresNode], say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._nodes = nodes
        self._say = say
        self._changed = changed
        self._copies = nodes[0].copies
        self._connected_to = ""
        self._watched = StandbyWatch(self._copies, say, still_primary=self._is_connected_to_primary)

    @property
    def primary(self) -> PostgresNode:
        """The server that is, or is to become, the primary."""
        return next(node for node in self._nodes if node.is_primary)

    async def run(self) -> None:
        """Watch until cancelled."""
        await watch(self._connect, self._watched, promote=self._promote)

    async def wait_until_complete(self) -> None:
        """Wait until the primary accepts writes and the standby has every commit, at most 30 s: it may be away."""
        try:
            async with asyncio.timeout(_FIRST_COPY_TIMEOUT):
                while self.primary.is_standby or not self._copies.complete:  # noqa: ASYNC110 - files of another process
                    await asyncio.sleep(_POLL_INTERVAL)
        except TimeoutError:
            self._say("PostgreSQL has no second copy yet; mkstore starts without it")

    async def _connect(self, connection: asyncpg.Connection | None) -> asyncpg.Connection:
        """Return a connection to the primary: another one after a change of roles."""
        primary = self.primary
        await self._fence(primary.peer)
        if connection is not None and self._connected_to == primary.name:
            return connection
        if connection is not None:
            connection.terminate()
        connection = await asyncpg.connect(primary.url, timeout=_CONNECT_TIMEOUT, command_timeout=_COMMAND_TIMEOUT)
        self._connected_to = primary.name
        return connection

    def _is_connected_to_primary(self) -> bool:
        return self._copies.primary == self._connected_to

    async def _fence(self, former: PostgresNode) -> None:
        """End a former primary; its supervisor starts it again, as a standby."""
        if former.is_running and not former.is_standby:
            await asyncio.to_thread(former.kill)

    async def _promote(self, connection: asyncpg.Connection) -> None:
        await connection.execute(_PROMOTE)
        self._say(f"{self._connected_to} is the primary of PostgreSQL now")
        self._changed()
