"""Backlogs: events in the outbox, dead letters, and the health warnings about both."""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.streams import DEAD_LETTERS
from kit.errors import NATS, HealthWarning, Unavailable
from kit.messaging.broker import Broker
from kit.outbox.relay import LOCK

_RELAYS = text("""
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = :high AND objid = :low
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""").bindparams(high=LOCK >> 32, low=LOCK & 0xFFFFFFFF)  # how pg_locks shows a 64-bit key
_OUTBOX = text("""
    SELECT (SELECT count(*) FROM outbox),
        coalesce((SELECT extract(epoch FROM clock_timestamp() - occurred_at) FROM outbox ORDER BY seq LIMIT 1), 0),
        (SELECT count(*) FROM refused_events)
""")


class OutboxBacklog(NamedTuple):
    """Committed events that are not published yet, and the age of the first one in seconds."""

    rows: int
    oldest_seconds: float
    refused: int
    """Number of events that NATS refused for good; they are not among `rows`."""


async def measure_outbox(pool: AsyncEngine) -> OutboxBacklog:
    """Measure the outbox in a service's database."""
    async with pool.connect() as connection:
        rows, oldest, refused = (await connection.execute(_OUTBOX)).one()
    return OutboxBacklog(rows, max(0.0, float(oldest)), refused)  # clocks differ: an event may come from the future


async def count_relays(pool: AsyncEngine) -> int:
    """Count the processes that relay the outbox now: one, or briefly none."""
    async with pool.connect() as connection:
        return int((await connection.execute(_RELAYS)).scalar_one())


async def count_dead_letters(broker: Broker) -> int:
    """Count the dead-lettered messages. Raises `Unavailable` if NATS is disconnected."""
    if not broker.is_connected():
        raise Unavailable(NATS)
    return int((await broker.jetstream.stream_info(DEAD_LETTERS.name)).state.messages)


async def check_outbox(pool: AsyncEngine, max_age: float, duplicate_window: timedelta | None = None) -> str | None:
    """Raise `HealthWarning` if NATS refused an event, or the first one is older than `max_age` seconds.

    With the `duplicate_window` of the stream, return what keeps a repeated event from being stored twice.
    """
    backlog = await measure_outbox(pool)
    if backlog.refused:
        raise HealthWarning(
            f"NATS refused {_counted(backlog.refused, 'event')}: run `mkstore dead-letters list`, remove the cause, "
            "and replay or discard each."
        )
    if backlog.oldest_seconds > max_age:
        raise HealthWarning(
            f"The outbox holds {_counted(backlog.rows, 'unpublished event')}, the oldest is "
            f"{backlog.oldest_seconds:.0f} s old: check the relay in the log of the service that owns the outbox."
        )
    if duplicate_window is None:
        return None
    seconds = duplicate_window.total_seconds()
    if backlog.oldest_seconds < seconds:
        return f"All events are within the duplicate window of {seconds:.0f} s: NATS stores a repeated one once."
    return (
        f"The oldest event is {backlog.oldest_seconds:.0f} s old, beyond the duplicate window of {seconds:.0f} s: one "
        "that was published that long ago and is repeated has the same `ce-id`, and consumers drop it."
    )


async def check_dead_letters(broker: Broker) -> None:
    """Raise `HealthWarning` if there are dead letters to replay or discard."""
    if count := await count_dead_letters(broker):
        raise HealthWarning(
            f"The dead-letter queue holds {_counted(count, 'message')}: run `mkstore dead-letters list`."
        )


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
