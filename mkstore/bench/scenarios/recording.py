"""What became of the accepted payments: how long their recording takes, and whether each is recorded once."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from mkstore.bench.load.calls import Call
from mkstore.bench.load.tables import table_with
from mkstore.bench.load.target import Target
from mkstore.chaos.http_client import Api

_POLL_INTERVAL = 0.05
_PROBE_INTERVAL, _LOOKUP_INTERVAL = 0.05, 0.003
_STALL_TIMEOUT = 3.0
"""Seconds without a new row, after which the rest is regarded as lost."""
_SETTLE_TIMEOUT = 0.5
_DRAIN_TIMEOUT = 120.0
_PROBE_TIMEOUT = 10.0


@dataclass(frozen=True)
class Drained:
    """The payments that one turn recorded; times are seconds after the end of the load."""

    rows: int
    recorded_after: float
    announced_after: float
    """When the outbox was empty; like `recorded_after` where there is none."""


async def payments_table(connection: asyncpg.Connection) -> str:
    """Return the name of the table with the payments. Raises `LookupError` if there is none."""
    table = await table_with(connection, "amount")
    if table is None:
        raise LookupError("no table has a column amount")
    return table


async def empty_payments(target: Target) -> None:
    """Remove all payments once none is on its way, so that each turn begins with an empty table."""
    async with target.payments_databases() as connections:
        table = await payments_table(connections[0])
        await wait_until_drained(target, None)
        for connection in connections:
            await connection.execute(f"TRUNCATE {table}")


async def wait_until_drained(target: Target, accepted: int | None) -> Drained:
    """Return once `accepted` payments are recorded and no event waits, or no row was added for 3 s.

    If the number of accepted payments is not known, return once no row was added for half a second.
    """
    began = changed = time.monotonic()
    rows, recorded_after, last = -1, 0.0, (-1, -1)
    async with target.payments_databases() as shards:
        table = await payments_table(shards[0])
        while time.monotonic() - began < _DRAIN_TIMEOUT:
            rows = sum([await shard.fetchval(f"SELECT count(*) FROM {table}") for shard in shards])  # noqa: S608 - a found name
            waiting = sum([await shard.fetchval("SELECT count(*) FROM outbox") for shard in shards if target.outbox])
            now = time.monotonic()
            if (rows, waiting) != last:
                last, changed = (rows, waiting), now
            is_recorded = now - changed > _SETTLE_TIMEOUT if accepted is None else rows >= accepted
            if not is_recorded:
                recorded_after = now - began
            if (is_recorded and not waiting) or now - changed > _STALL_TIMEOUT:
                break
            await asyncio.sleep(_POLL_INTERVAL)
    announced_after = changed - began if accepted is None else max(recorded_after, changed - began)
    recorded_after = announced_after if accepted is None else recorded_after
    return Drained(rows, round(recorded_after, 2), round(announced_after, 2))


def faults(drained: Drained, accepted: int, in_flight: int) -> list[str]:
    """Return what is wrong with the number of rows.

    At the end of the load, up to `in_flight` requests may have been accepted whose response nobody has read.
    """
    if drained.rows < accepted:
        return [f"{accepted - drained.rows} of {accepted} accepted payments are not recorded"]
    if drained.rows > accepted + in_flight:
        return [f"{drained.rows} payments are recorded, {accepted} were accepted"]
    return []


async def probe(target: Target, call: Call, stop: asyncio.Event) -> tuple[int, list[float]]:
    """Pay one after the other until `stop` is set; return the number of accepted payments, and delays.

    A delay is the time in milliseconds from a response until the row is there. There is none if a response does not
    contain the payment's id.
    """
    accepted, delays = 0, []
    async with Api(target.url) as api, target.payments_database() as connection:
        table = await payments_table(connection)
        lookup = await connection.prepare(f"SELECT 1 FROM {table} WHERE id = $1")  # noqa: S608 - a found name
        while not stop.is_set():
            answer = await call.send(api)
            accepted += answer.status in call.status
            if answer.status in call.status and (payment := _id(answer.json)) is not None:
                began = time.monotonic()
                while not await lookup.fetchval(payment) and time.monotonic() - began < _PROBE_TIMEOUT:  # noqa: ASYNC110 - a row sets no event
                    await asyncio.sleep(_LOOKUP_INTERVAL)
                delays.append((time.monotonic() - began) * 1e3)
            await asyncio.sleep(_PROBE_INTERVAL)
    return accepted, delays


def _id(content: Any) -> Any:
    value = content.get("id") if isinstance(content, Mapping) else None
    try:
        return UUID(value) if isinstance(value, str) else value
    except ValueError:
        return None
