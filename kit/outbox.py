"""The transactional outbox: an event is written with the change that it tells of, and relayed in order afterwards."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
from nats.errors import Error as NatsError
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    insert,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.stdlib import get_logger

from contracts.base import Event
from kit.broker import Broker
from kit.ending import end
from kit.failpoints import AFTER_PUBLISH, AFTER_REMOVAL, BEFORE_PUBLISH, HALF_A_BATCH, reached
from kit.telemetry import Trace

log = get_logger(__name__)

BATCH = 200
_LOCK = 4_217_000_002
_CHANNEL = "outbox"
_DEADLINE = 5.0
_PAUSE = 0.5
_DUPLICATE = 10201
"""nats-server: an atomic batch held a message id that the stream has seen."""


def outbox_table(metadata: MetaData) -> Table:
    """Make the table, on the service's own metadata; `seq` is the order in which events are sent."""
    return Table(
        "outbox",
        metadata,
        Column("seq", BigInteger, Identity(always=True), primary_key=True),
        Column("id", Uuid, nullable=False),
        Column("subject", Text, nullable=False),
        Column("aggregate_id", Uuid, nullable=False),
        Column("aggregate_version", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("occurred_at", DateTime(timezone=True), nullable=False),
        Column("request_id", Text, nullable=False),
        Column("traceparent", Text, nullable=False),
    )


async def emit(connection: AsyncConnection, table: Table, events: Sequence[tuple[Event, Trace]]) -> None:
    """Write `events`, if there are any, in the caller's open transaction; never flushes, commits or begins one."""
    if not events:
        return
    now = datetime.now(UTC)
    rows = [
        {
            "id": uuid4(),
            "subject": event.subject,
            "aggregate_id": event.aggregate_id,
            "aggregate_version": event.aggregate_version,
            "body": event.model_dump_json().encode(),
            "occurred_at": now,
            "request_id": trace.request_id,
            "traceparent": trace.traceparent,
        }
        for event, trace in events
    ]
    await connection.execute(insert(table), rows)
    await connection.execute(text(f"NOTIFY {_CHANNEL}"))  # comes with the commit, so the relay never wakes too early


_SERVER_SETTINGS = {
    "application_name": "mkstore outbox relay",
    # The server finds within half a minute, and not in two hours, that a leader's machine has vanished.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class NotAccepted(Exception):
    """The stream did not take what was sent."""


class Relay:
    """Sends outbox rows to JetStream in order; one leader at a time among the replicas of a service.

    A row goes only after the stream acknowledged its event, so each is sent at least once; sent twice, it carries the
    same `Nats-Msg-Id`. Rows that are sent together go as one atomic batch: across a reconnect single publishes could
    overtake each other. Events carry CloudEvents 1.0 attributes in headers (NATS protocol binding, binary mode).
    """

    def __init__(self, address: URL, broker: Broker, source: str) -> None:
        self._dsn = address.set(drivername="postgresql").render_as_string(hide_password=False)
        self._broker = broker
        self._source = source
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to relay, once the broker is connected."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what is not sent yet stays for the next."""
        if self._task is not None:
            await end([self._task])

    async def check(self) -> None:
        """Raise when nothing is relayed any more."""
        if self._task is None or self._task.done():
            raise RuntimeError("the outbox relay is not running")

    async def _run(self) -> None:
        """Lead for as long as it can; after any failure start over, the rows are still there."""
        while True:
            try:
                await self._lead()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, NatsError, NotAccepted) as error:
                log.warning("the outbox relay starts over", reason=str(error) or type(error).__name__)
            except Exception:
                # Such as uvloop's RuntimeError for a connection that has just gone: nobody else would start it again.
                log.exception("the outbox relay starts over")
            await asyncio.sleep(_PAUSE)

    async def _lead(self) -> None:
        connection = await asyncpg.connect(
            self._dsn, timeout=2, command_timeout=_DEADLINE, server_settings=_SERVER_SETTINGS
        )
        try:
            # Held by this session: a leader that dies lets go of it, and another replica takes over.
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=float("inf"))
            wake = asyncio.Event()
            connection.add_termination_listener(lambda *_: wake.set())
            await connection.add_listener(_CHANNEL, lambda *_: wake.set())
            while True:
                wake.clear()
                while await self._send_some(connection):
                    pass
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DEADLINE):  # a lost notification costs seconds, not an event
                        await wake.wait()
        finally:
            connection.terminate()  # a polite close could wait for a server that is not there

    async def _send_some(self, connection: asyncpg.Connection) -> int:
        rows = await connection.fetch("SELECT * FROM outbox ORDER BY seq LIMIT $1", BATCH)
        if not rows:
            return 0
        if not self._broker.is_connected():
            # Else each attempt would be kept in memory, and all of them sent after the reconnect.
            raise NotAccepted("NATS is away")
        started = time.monotonic()
        reached(BEFORE_PUBLISH)
        if len(rows) == 1 or not await self._send_together(rows):
            for row in rows:
                await self._broker.jetstream.publish(
                    row["subject"], row["body"], timeout=_DEADLINE, headers=self._headers(row)
                )
        reached(AFTER_PUBLISH)
        await connection.execute("DELETE FROM outbox WHERE seq = ANY($1)", [row["seq"] for row in rows])
        reached(AFTER_REMOVAL)
        log.debug("events sent", count=len(rows), seconds=round(time.monotonic() - started, 4))
        return len(rows)

    async def _send_together(self, rows: Sequence[asyncpg.Record]) -> bool:
        """Publish all or none (NATS ADR-50); False where one of them is there already, from before a failure."""
        batch = {"Nats-Batch-Id": uuid4().hex}
        for number, row in enumerate(rows, start=1):
            headers = self._headers(row) | batch | {"Nats-Batch-Sequence": str(number)}
            if number < len(rows):
                await self._broker.client.publish(row["subject"], row["body"], headers=headers)
            else:
                reached(HALF_A_BATCH)
                headers["Nats-Batch-Commit"] = "1"
                reply = await self._broker.client.request(row["subject"], row["body"], _DEADLINE, headers=headers)
        error = json.loads(reply.data).get("error")
        if error is None:
            return True
        if error.get("err_code") == _DUPLICATE:
            return False
        raise NotAccepted(error.get("description", "the stream refused a batch"))

    def _headers(self, row: asyncpg.Record) -> dict[str, str]:
        event_id = str(row["id"])
        return {
            "Nats-Msg-Id": event_id,
            "ce-specversion": "1.0",
            "ce-id": event_id,
            "ce-type": row["subject"],
            "ce-source": self._source,
            "ce-subject": str(row["aggregate_id"]),
            "ce-time": row["occurred_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "ce-aggregateversion": str(row["aggregate_version"]),
            "content-type": "application/json",
        } | Trace(row["request_id"], row["traceparent"]).headers()
