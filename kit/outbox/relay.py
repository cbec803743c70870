"""Sends what stands in the outbox to JetStream: in order, at least once, by one process at a time."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC
from uuid import uuid4

import asyncpg
from nats.errors import Error as NatsError
from sqlalchemy import URL
from structlog.stdlib import get_logger

from contracts.streams import Stream
from kit.messaging.broker import Broker
from kit.outbox.leader import LeaderSession, lead
from kit.outbox.table import CHANNEL
from kit.runtime.failpoints import AFTER_PUBLISH, AFTER_REMOVAL, BEFORE_PUBLISH, HALF_A_BATCH, failpoint
from kit.runtime.tasks import cancel_and_wait, run_until_first_done
from kit.runtime.tracing import Trace

log = get_logger(__name__)

BATCH_SIZE = 200
LOCK = 4_217_000_002
"""The advisory lock of whoever relays; in each service's database there is one."""
_DEADLINE = 5.0
_PAUSE = 0.5
_DUPLICATE = 10201
"""nats-server: an atomic batch held a message id that the stream has seen."""


class PublishRejected(Exception):
    """The stream did not take what was sent."""


class Relay:
    """Sends outbox rows to `stream` in order; one leader at a time among the replicas of a service.

    A row goes only after the stream acknowledged its event, so each is sent at least once; sent twice, it carries the
    same `Nats-Msg-Id`. Rows that are sent together go as one atomic batch: across a reconnect single publishes could
    overtake each other. All that is sent names the message that it must follow, so that what an old leader had under
    way, or a client in its buffer, is refused once another has sent anything, however late it comes. Events carry
    CloudEvents 1.0 attributes in headers (NATS protocol binding, binary mode).
    """

    def __init__(self, address: URL, broker: Broker, source: str, stream: Stream) -> None:
        self._dsn = address.set(drivername="postgresql").render_as_string(hide_password=False)
        self._broker = broker
        self._source = source
        self._stream = stream.name
        self._last = 0
        self._task: asyncio.Task[None] | None = None
        self.leads = False
        """Whether this process is the one that sends."""

    async def start(self) -> None:
        """Begin to relay, once the broker is connected."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what is not sent yet stays for the next."""
        if self._task is not None:
            await cancel_and_wait([self._task])

    async def check(self) -> None:
        """Raise when nothing is relayed any more."""
        if self._task is None or self._task.done():
            raise RuntimeError("the outbox relay is not running")

    async def _run(self) -> None:
        """Lead for as long as it can; after any failure start over, the rows are still there."""
        while True:
            try:
                await self._lead()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, NatsError, PublishRejected) as error:
                log.warning("the outbox relay starts over", reason=str(error) or type(error).__name__)
            except Exception:
                # Such as uvloop's RuntimeError for a connection that has just gone: nobody else would start it again.
                log.exception("the outbox relay starts over")
            await asyncio.sleep(_PAUSE)

    async def _lead(self) -> None:
        if not self._broker.is_connected():
            raise PublishRejected("NATS is away")  # a replica that reaches it may lead meanwhile
        async with lead(self._dsn, LOCK) as session:
            self.leads = True
            try:
                await run_until_first_done(self._send_all(session), session.keep_alive(), self._disconnected())
            finally:
                self.leads = False

    async def _disconnected(self) -> None:
        """Raise as soon as NATS is away: it will not answer what it was sent before."""
        await self._broker.lost()
        raise PublishRejected("NATS is away")

    async def _send_all(self, session: LeaderSession) -> None:
        await session.listen(CHANNEL)
        self._last = (await self._broker.jetstream.stream_info(self._stream)).state.last_seq
        while True:
            while await self._send_some(session):
                pass
            await session.wait_notified(_DEADLINE)  # a lost notification costs seconds, not an event

    async def _send_some(self, session: LeaderSession) -> int:
        rows = await session.fetch("SELECT * FROM outbox ORDER BY seq LIMIT $1", BATCH_SIZE)
        if not rows:
            return 0
        if not self._broker.is_connected():
            # Else each attempt would be kept in memory, and all of them sent after the reconnect.
            raise PublishRejected("NATS is away")
        started = time.monotonic()
        failpoint(BEFORE_PUBLISH)
        if len(rows) == 1 or not await self._send_together(rows):
            for row in rows:
                await self._send_one(row)
        failpoint(AFTER_PUBLISH)
        await session.execute("DELETE FROM outbox WHERE seq = ANY($1)", [row["seq"] for row in rows])
        failpoint(AFTER_REMOVAL)
        log.debug("events sent", count=len(rows), seconds=round(time.monotonic() - started, 4))
        return len(rows)

    async def _send_one(self, row: asyncpg.Record) -> None:
        taken = await self._broker.jetstream.publish(
            row["subject"], row["body"], timeout=_DEADLINE, headers=self._headers(row) | self._in_order()
        )
        self._last = max(self._last, taken.seq)  # of a repetition it is the first one's

    async def _send_together(self, rows: Sequence[asyncpg.Record]) -> bool:
        """Publish all or none (NATS ADR-50); False where one of them is there already, from before a failure."""
        batch = {"Nats-Batch-Id": uuid4().hex}
        order = self._in_order()  # the first says it for all of them
        for number, row in enumerate(rows, start=1):
            headers = self._headers(row) | batch | {"Nats-Batch-Sequence": str(number)} | order
            order = {}
            if number < len(rows):
                await self._broker.client.publish(row["subject"], row["body"], headers=headers)
            else:
                failpoint(HALF_A_BATCH)
                headers["Nats-Batch-Commit"] = "1"
                reply = await self._broker.client.request(row["subject"], row["body"], _DEADLINE, headers=headers)
        answer = json.loads(reply.data)
        error = answer.get("error")
        if error is None:
            self._last = answer["seq"]
            return True
        if error.get("err_code") == _DUPLICATE:
            return False
        raise PublishRejected(error.get("description", "the stream refused a batch"))

    def _in_order(self) -> dict[str, str]:
        return {"Nats-Expected-Last-Sequence": str(self._last)}

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
