"""Publishes the events in the outbox to JetStream: in order, at least once, from one process at a time."""

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

from contracts import nats_errors
from contracts.headers import EXPECTED_LAST_SEQUENCE, MESSAGE_ID
from contracts.streams import Stream
from kit.messaging.broker import Broker
from kit.messaging.nats_compat import RawMessage, publish_together
from kit.outbox.leader import LEASE, LeaderSession, lead
from kit.outbox.table import CHANNEL
from kit.runtime.failpoints import AFTER_PUBLISH, AFTER_REMOVAL, BEFORE_PUBLISH, HALF_A_BATCH, failpoint
from kit.runtime.periodic import Periodic
from kit.runtime.tasks import run_until_first_done
from kit.runtime.tracing import Trace

log = get_logger(__name__)

BATCH_SIZE = 500
"""Events of one atomic batch; JetStream accepts 1,000."""
LOCK = 4_217_000_002
"""Advisory lock of the leading relay, in each service's own database."""
PUBLISH_TIMEOUT = 5.0
"""Seconds to wait for the acknowledgement of the stream."""
POLL_INTERVAL = 5.0
"""Seconds between reads of the outbox without a notification."""
PACE = 0.05
"""Seconds from one batch to the next, unless the batch was full; a batch costs NATS four syncs at any size."""
_RESTART_DELAY = 0.5


class PublishRejected(Exception):
    """The stream did not accept an event."""


class Relay:
    """Publishes outbox rows to `stream` in order; one replica of the service leads at a time.

    A row is deleted after the stream has acknowledged its event, so each event is published at least once; a repetition
    carries the same `Nats-Msg-Id`. Rows that are read together are published as one atomic batch, because single
    publishes could overtake each other across a reconnect. Every publish names the sequence that it must follow, which
    fences former leaders: whatever one had in flight, or its client had buffered, is rejected once another leader has
    published. Headers carry CloudEvents 1.0 attributes (NATS protocol binding, binary mode). `lease`,
    `publish_timeout`, `poll_interval` and `pace` are in seconds.
    """

    def __init__(
        self,
        url: URL,
        broker: Broker,
        source: str,
        stream: Stream,
        *,
        lease: float = LEASE,
        publish_timeout: float = PUBLISH_TIMEOUT,
        poll_interval: float = POLL_INTERVAL,
        pace: float = PACE,
    ) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._broker = broker
        self._source = source
        self._stream = stream.name
        self._lease = lease
        self._publish_timeout = publish_timeout
        self._poll_interval = poll_interval
        self._pace = pace
        self._last_sequence = 0
        self._leading = Periodic(
            self._lead,
            _RESTART_DELAY,
            log=log,
            failure="outbox relay restarts",
            expected=(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, NatsError, PublishRejected),
        )
        self.leads = False
        """Whether this process is the leader."""

    async def start(self) -> None:
        """Start to relay in the background; the broker must be connected."""
        await self._leading.start()

    async def stop(self) -> None:
        """Stop; unpublished rows stay in the outbox for the next leader."""
        await self._leading.stop()

    async def check(self) -> None:
        """Raise `RuntimeError` if the relay is not running."""
        if not self._leading.is_running:
            raise RuntimeError("the outbox relay is not running")

    async def _lead(self) -> None:
        """Lead until a failure, after which the rows are still in the outbox."""
        if not self._broker.is_connected():
            raise PublishRejected("NATS is disconnected")  # another replica, which is connected, may lead
        async with lead(self._dsn, LOCK, lease=self._lease) as session:
            self.leads = True
            try:
                await run_until_first_done(self._publish_all(session), session.keep_alive(), self._disconnected())
            finally:
                self.leads = False

    async def _disconnected(self) -> None:
        """Raise as soon as NATS disconnects: it will not acknowledge what was published before."""
        await self._broker.wait_disconnected()
        raise PublishRejected("NATS is disconnected")

    async def _publish_all(self, session: LeaderSession) -> None:
        await session.listen(CHANNEL)
        self._last_sequence = (await self._broker.jetstream.stream_info(self._stream)).state.last_seq
        while True:
            while count := await self._publish_batch(session):
                if count < BATCH_SIZE:  # a full one has left others: only a backlog is read without a pause
                    await asyncio.sleep(self._pace)
            await session.wait_notified(self._poll_interval)  # a lost notification delays events but loses none

    async def _publish_batch(self, session: LeaderSession) -> int:
        rows = await session.fetch("SELECT * FROM outbox ORDER BY seq LIMIT $1", BATCH_SIZE)
        if not rows:
            return 0
        if not self._broker.is_connected():
            # Otherwise the client would buffer each attempt in memory and send all of them after the reconnect.
            raise PublishRejected("NATS is disconnected")
        started = time.monotonic()
        failpoint(BEFORE_PUBLISH)
        if len(rows) == 1 or not await self._publish_atomically(rows):
            for row in rows:
                await self._publish_one(row)
        failpoint(AFTER_PUBLISH)
        await session.execute("DELETE FROM outbox WHERE seq = ANY($1)", [row["seq"] for row in rows])
        failpoint(AFTER_REMOVAL)
        log.debug("events published", count=len(rows), seconds=round(time.monotonic() - started, 4))
        return len(rows)

    async def _publish_one(self, row: asyncpg.Record) -> None:
        ack = await self._broker.jetstream.publish(
            row["subject"], row["body"], timeout=self._publish_timeout, headers=self._headers(row) | self._fence()
        )
        self._last_sequence = max(self._last_sequence, ack.seq)  # a duplicate is acknowledged with the first sequence

    async def _publish_atomically(self, rows: Sequence[asyncpg.Record]) -> bool:
        """Publish all rows or none (NATS ADR-50); False if the stream already has one, from before a failure."""
        batch_id = uuid4().hex
        messages = [
            RawMessage(
                row["subject"],
                self._headers(row) | {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)},
                row["body"],
            )
            for number, row in enumerate(rows, start=1)
        ]
        messages[0].headers.update(self._fence())  # only on the first message of a batch
        last = messages.pop()
        await publish_together(self._broker.client, messages)
        failpoint(HALF_A_BATCH)
        headers = last.headers | {"Nats-Batch-Commit": "1"}
        reply = await self._broker.client.request(last.subject, last.body, self._publish_timeout, headers=headers)
        ack = json.loads(reply.data)
        error = ack.get("error")
        if error is None:
            self._last_sequence = ack["seq"]
            return True
        if error.get("err_code") == nats_errors.DUPLICATE_IN_BATCH:
            return False
        raise PublishRejected(error.get("description", "the stream rejected a batch"))

    def _fence(self) -> dict[str, str]:
        return {EXPECTED_LAST_SEQUENCE: str(self._last_sequence)}

    def _headers(self, row: asyncpg.Record) -> dict[str, str]:
        event_id = str(row["id"])
        return {
            MESSAGE_ID: event_id,
            "ce-specversion": "1.0",
            "ce-id": event_id,
            "ce-type": row["subject"],
            "ce-source": self._source,
            "ce-subject": str(row["aggregate_id"]),
            "ce-time": row["occurred_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "ce-aggregateversion": str(row["aggregate_version"]),
            "content-type": "application/json",
        } | Trace(row["request_id"], row["traceparent"]).headers()
