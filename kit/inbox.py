"""The inbox: a handled message is recorded in the transaction of its effect, so a redelivery has no second effect."""

from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from sqlalchemy import Column, DateTime, Index, Integer, MetaData, Table, Text, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.stdlib import get_logger

from kit.runtime.measurements import Counts
from kit.runtime.periodic import Periodic
from kit.sql import SqlConnection

log = get_logger(__name__)

_DUPLICATES = Counts(
    "mkstore_duplicate_messages_total", "Messages without an effect, because they were handled before.", ("consumer",)
)
CLEAN_INTERVAL = 60.0
_BATCH_SIZE = 1000


def inbox_table(metadata: MetaData) -> Table:
    """Create the table on the service's metadata: one row per message that a consumer has handled; return it.

    It also creates the table of `kit.crash_count`.
    """
    Table(
        "unfinished_messages",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("message_id", Text, primary_key=True),
        Column("begun", Integer, nullable=False),
        Column("begun_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
    return Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("message_id", Text, primary_key=True),
        Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Index("inbox_by_time", "handled_at"),
    )


class InboxKey(NamedTuple):
    """One message, as handled by one consumer."""

    consumer: str
    message_id: str


# Sorted, so that two transactions with the same keys wait for each other in one direction and do not deadlock.
_INSERT_NEW = """
INSERT INTO inbox (consumer, message_id)
SELECT DISTINCT consumer, message_id FROM unnest($1::text[], $2::text[]) AS key (consumer, message_id)
ORDER BY consumer, message_id
ON CONFLICT (consumer, message_id) DO NOTHING
RETURNING consumer, message_id
"""


async def insert_new(connection: SqlConnection, keys: Collection[InboxKey]) -> set[InboxKey]:
    """Insert `keys` in the caller's transaction and return the new ones, whose messages are still to be handled.

    Waits for other transactions that insert the same keys: afterwards a key exists or it does not.
    """
    if not keys:
        return set()
    rows = await connection.fetch(_INSERT_NEW, [key.consumer for key in keys], [key.message_id for key in keys])
    new = {InboxKey(*row) for row in rows}
    for key in keys:
        if key not in new:
            _DUPLICATES.add((key.consumer,))
    return new


def inbox_cleaner(pool: AsyncEngine, table: Table, keep: timedelta, *, interval: float = CLEAN_INTERVAL) -> Periodic:
    """Return the background work that deletes the keys older than `keep`; `interval` is in seconds."""
    return Periodic(partial(_delete_all_expired, pool, table, keep), interval, log=log, failure="inbox cleanup failed")


async def _delete_all_expired(pool: AsyncEngine, table: Table, keep: timedelta) -> None:
    while await delete_expired(pool, table, keep) == _BATCH_SIZE:
        pass


async def delete_expired(pool: AsyncEngine, table: Table, keep: timedelta) -> int:
    """Delete at most 1000 keys older than `keep` in one transaction; return their number."""
    columns = (table.c.consumer, table.c.message_id)
    expired = (
        select(*columns)
        .where(table.c.handled_at < func.now() - keep)
        .order_by(table.c.handled_at)
        .limit(_BATCH_SIZE)
        .with_for_update(skip_locked=True)  # replicas clean up too: each deletes the rows that no other locked
    )
    async with pool.begin() as connection:
        return (await connection.execute(delete(table).where(tuple_(*columns).in_(expired)))).rowcount
