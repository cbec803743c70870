"""What the transactions of a database wait for."""

from kit.connection_pool import ConnectionPool
from kit.database import Transaction


class _Locks(Transaction):
    async def are_awaited(self) -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(await self._connection.fetchval(waiting))


async def lock_is_awaited(pool: ConnectionPool) -> bool:
    """Return whether a transaction waits for a lock of another."""
    async with _Locks(pool, autocommit=True) as locks:
        return await locks.are_awaited()
