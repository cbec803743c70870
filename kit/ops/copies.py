"""How many copies of a commit exist, for readiness and metrics; see `kit.ops.replication`."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.errors import HealthWarning

_COPIES = text("SELECT current_setting('synchronous_standby_names') <> '', EXISTS (SELECT FROM pg_stat_replication)")


async def count_copies(pool: AsyncEngine) -> int:
    """Return in how many places an acknowledged commit is: 2 with a standby, 1 while that is away."""
    async with pool.connect() as connection:
        waits, connected = (await connection.execute(_COPIES)).one()
    return 2 if waits and connected else 1


async def check_copies(pool: AsyncEngine, wanted: int) -> str | None:
    """Raise `HealthWarning` if there are fewer copies of a commit than wanted; return a note if there are several."""
    copies = await count_copies(pool)
    if copies < wanted:
        raise HealthWarning(
            "PostgreSQL has only one copy of what it commits: start its standby again; if the primary is lost before "
            "that, what it committed alone is lost too."
        )
    return f"PostgreSQL has {copies} copies of each commit." if copies > 1 else None
