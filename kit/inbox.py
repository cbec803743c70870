"""The inbox: that a message was handled is written with what it did, so that it does it once however often it comes."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Column, DateTime, Index, MetaData, Table, Text, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from structlog.stdlib import get_logger

from kit.runtime.tasks import cancel_and_wait

log = get_logger(__name__)

_PORTION = 1000
_EVERY = 60.0


def inbox_table(metadata: MetaData) -> Table:
    """Make the table, on the service's own metadata: a row for each message that a consumer of it has handled."""
    return Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("message_id", Text, primary_key=True),
        Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Index("inbox_by_time", "handled_at"),
    )


class InboxKey(NamedTuple):
    """That one consumer has handled one message."""

    consumer: str
    message_id: str


async def insert_new(connection: AsyncConnection, table: Table, marks: Collection[InboxKey]) -> set[InboxKey]:
    """Write `marks` in the caller's open transaction; returns those that are new, whose messages are to be handled.

    While another transaction writes one of them too, this waits for its end: then the mark is there or it is not.
    """
    if not marks:
        return set()
    # In one order: two transactions with the same marks then wait for one another in one direction.
    rows = [one._asdict() for one in sorted(set(marks))]
    keys = (table.c.consumer, table.c.message_id)
    added = insert(table).on_conflict_do_nothing(index_elements=keys).returning(*keys)
    return {InboxKey(*row) for row in await connection.execute(added, rows)}


class InboxCleaner:
    """Removes the marks that are older than `keep`, a thousand at a time; what fails is only put off."""

    def __init__(self, pool: AsyncEngine, table: Table, keep: timedelta, *, every: float = _EVERY) -> None:
        self._pool = pool
        self._table = table
        self._keep = keep
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to sweep, now and then once a minute."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what is left stays for the next."""
        if self._task is not None:
            await cancel_and_wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                while await self.delete_expired() == _PORTION:
                    pass
            except Exception as error:  # noqa: BLE001 - such as a database that is away: nobody else would start it again
                log.warning("the inbox is not swept", reason=str(error) or type(error).__name__)
            await asyncio.sleep(self._every)

    async def delete_expired(self) -> int:
        """Remove up to a thousand marks that are too old, in a transaction of its own; returns how many."""
        table = self._table
        keys = (table.c.consumer, table.c.message_id)
        old = (
            select(*keys)
            .where(table.c.handled_at < func.now() - self._keep)
            .order_by(table.c.handled_at)
            .limit(_PORTION)
            .with_for_update(skip_locked=True)  # a replica sweeps as well: each takes what the other has not
        )
        async with self._pool.begin() as connection:
            return (await connection.execute(delete(table).where(tuple_(*keys).in_(old)))).rowcount
