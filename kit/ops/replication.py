"""PostgreSQL with a standby: how many copies of a commit exist, and when the primary waits for the second one.

A commit waits until the standby has it (`synchronous_standby_names`). While the standby is away, nothing would be
committed: `StandbyWatch` lets the primary commit alone, which readiness shows, and wait again once the standby has all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import asyncpg

AWAY_AFTER = 1.0
"""Seconds without a connected standby until the primary commits alone. PostgreSQL notices a silent one after 2 s."""
SETTLED_AFTER = 1.0
"""Seconds until every session waits: the checkpointer reloads the configuration for them, and may be busy."""
CHECK_INTERVAL = 0.3
"""Seconds between two looks at the primary."""

_STATE = """
SELECT pg_is_in_recovery() AS in_recovery, current_setting('synchronous_standby_names') <> '' AS waits,
    CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END AS written, standby.*
FROM (
    SELECT count(*) > 0 AS connected, coalesce(bool_or(sync_state IN ('sync', 'quorum')), false) AS waited_for,
        max(flush_lsn) AS flushed
    FROM pg_stat_replication WHERE state = 'streaming'
) AS standby
"""
_ALONE, _TOGETHER = "''", "'ANY 1 (*)'"


class CopiesRecord(Protocol):
    """Where it is recorded whether the standby has every commit; see `mkstore.stack.servers.copies`."""

    @property
    def complete(self) -> bool:
        """Whether the standby has every acknowledged commit."""

    def mark_complete(self) -> None:
        """Record that the standby has every commit."""

    def mark_incomplete(self) -> None:
        """Record that the primary commits alone; before it does, and with the lock."""

    def lock(self) -> AbstractContextManager[None]:
        """Exclude a promotion until the end of the block."""


class StandbyWatch:
    """Lets a primary commit alone while its standby is away for `away_after` seconds.

    `still_primary` is asked before, with the lock of `record`: a server that is about to be replaced must not. `say`
    prints a line about each change.
    """

    def __init__(
        self,
        record: CopiesRecord,
        say: Callable[[str], None],
        *,
        still_primary: Callable[[], bool] = lambda: True,
        away_after: float = AWAY_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._say = say
        self._still_primary = still_primary
        self._away_after = away_after
        self._clock = clock
        self._away_since: float | None = None
        self._waits_since: float | None = None
        self._to_reach: int | None = None
        """Position in the log of the primary that the standby must reach to have every commit."""

    async def step(self, primary: asyncpg.Connection) -> bool:
        """Look at the primary once, and change what has to be changed; return False if it is not the primary (yet).

        Raises asyncpg's errors, or `OSError`, if it does not answer.
        """
        state = await primary.fetchrow(_STATE)
        if state is None or state["in_recovery"]:
            return False
        if state["connected"]:
            self._away_since = None
            if not state["waits"]:
                self._to_reach = self._waits_since = None
                await self._commit(primary, _TOGETHER)
            elif state["waited_for"] and not self._record.complete:
                self._check_complete(state["written"], state["flushed"])
        elif state["waits"]:
            self._to_reach = self._waits_since = None
            await self._without_standby(primary)
        elif self._record.complete:  # a primary that was started anew, without a standby
            with self._record.lock():
                self._record.mark_incomplete()
        return True

    def _check_complete(self, written: int, flushed: int | None) -> None:
        """Once every commit waits, those that did not lie before the present end of the log."""
        now = self._clock()
        self._waits_since = now if self._waits_since is None else self._waits_since
        if now - self._waits_since < SETTLED_AFTER:
            return
        if self._to_reach is None:
            self._to_reach = written
        elif flushed is not None and flushed >= self._to_reach:
            self._record.mark_complete()
            self._say("PostgreSQL has two copies of each commit")

    async def _without_standby(self, primary: asyncpg.Connection) -> None:
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since < self._away_after:
            return
        with self._record.lock():
            if self._still_primary():
                self._record.mark_incomplete()
                await self._commit(primary, _ALONE)
                self._say("the standby of PostgreSQL is away: only one copy of what is committed from now on exists")

    async def _commit(self, primary: asyncpg.Connection, standbys: str) -> None:
        await primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = {standbys}")
        await primary.execute("SELECT pg_reload_conf()")


async def watch(
    primary: Callable[[asyncpg.Connection | None], Awaitable[asyncpg.Connection]],
    watched: StandbyWatch,
    *,
    promote: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    interval: float = CHECK_INTERVAL,
) -> None:
    """Look at the primary at each interval; it may be away.

    `primary` is given the last connection, if it is open, and returns it or another one. `promote` is called if the
    server is a standby.
    """
    connection: asyncpg.Connection | None = None
    try:
        while True:
            try:
                connection = await primary(None if connection is None or connection.is_closed() else connection)
                if not await watched.step(connection) and promote is not None:
                    await promote(connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                if connection is not None:
                    connection.terminate()
                connection = None
            await asyncio.sleep(interval)
    finally:
        if connection is not None:
            connection.terminate()
