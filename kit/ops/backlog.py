"""What waits: events in the outbox for the relay, dead letters for a person; and when somebody should look."""

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
""").bindparams(high=LOCK >> 32, low=LOCK & 0xFFFFFFFF)  # as pg_locks shows a key of 64 bits
_OUTBOX = text("""
    SELECT (SELECT count(*) FROM outbox),
        coalesce((SELECT extract(epoch FROM clock_timestamp() - occurred_at) FROM outbox ORDER BY seq LIMIT 1), 0)
""")


class Outbox(NamedTuple):
    """The events that are committed and not sent yet: how many, and how many seconds ago the first one happened."""

    rows: int
    oldest_seconds: float


async def outbox(pool: AsyncEngine) -> Outbox:
    """Count what waits in the outbox of a service's database."""
    async with pool.connect() as connection:
        rows, oldest = (await connection.execute(_OUTBOX)).one()
    return Outbox(rows, max(0.0, float(oldest)))  # two clocks: an event may come from the future


async def relays(pool: AsyncEngine) -> int:
    """Count the processes that relay the outbox now: one, or none for a moment."""
    async with pool.connect() as connection:
        return int((await connection.execute(_RELAYS)).scalar_one())


async def dead_letters(broker: Broker) -> int:
    """Count the messages that were given up; raises `Unavailable` while NATS is away."""
    if not broker.is_connected():
        raise Unavailable(NATS)
    return int((await broker.jetstream.stream_info(DEAD_LETTERS.name)).state.messages)


async def check_outbox(pool: AsyncEngine, longest: float) -> None:
    """Raise `HealthWarning` when the first event in the outbox waits for more than `longest` seconds."""
    found = await outbox(pool)
    if found.oldest_seconds > longest:
        raise HealthWarning(
            f"{_counted(found.rows, 'event')} in the outbox not sent yet, the first one for "
            f"{found.oldest_seconds:.0f} s: look at what the service that owns it logs of its relay."
        )


async def check_dead_letters(broker: Broker) -> None:
    """Raise `HealthWarning` when messages were given up and nobody has decided about them yet."""
    if count := await dead_letters(broker):
        raise HealthWarning(f"{_counted(count, 'message')} among the dead letters: run `mkstore dead-letters list`.")


def _counted(count: int, what: str) -> str:
    return f"There is 1 {what}" if count == 1 else f"There are {count} {what}s"
