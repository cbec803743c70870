"""Publishes the events in the outbox to JetStream: in order, at least once, from one process at a time."""

import asyncio
import json
import time
from collections.abc import Sequence
from uuid import uuid4

import asyncpg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError
from sqlalchemy import URL
from structlog.stdlib import get_logger

from contracts import nats_errors
from contracts.headers import EXPECTED_LAST_SEQUENCE
from contracts.streams import Stream, covers
from kit.database import dsn
from kit.messaging.broker import Broker
from kit.messaging.nats_compat import RawMessage, publish_together
from kit.outbox.leader import LEASE, LeaderSession, lead
from kit.outbox.refused import ANY_REFUSED, NEXT, NEXT_BESIDE_REFUSED, REFUSE
from kit.outbox.table import CHANNEL, event_headers
from kit.runtime.failpoints import AFTER_PUBLISH, AFTER_REMOVAL, BEFORE_PUBLISH, HALF_A_BATCH, failpoint
from kit.runtime.periodic import Periodic
from kit.runtime.spans import batch_span
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
ATTEMPTS = 3
"""Attempts to publish an event before it counts as refused."""
RETRY_DELAY = 0.5
"""Seconds between these attempts."""
_RESTART_DELAY = 0.5
_HEADER_BYTES = 4096
"""More than the headers of an event take."""
_NOT_AS_BATCH = frozenset({nats_errors.DUPLICATE_IN_BATCH, nats_errors.INCOMPLETE_BATCH, nats_errors.MESSAGE_TOO_LARGE})


class PublishRejected(Exception):
    """The stream did not accept an event."""


class Relay:
    """Publishes outbox rows to `stream` in order; one replica of the service leads at a time.

    A row is deleted after the stream has acknowledged its event, so each event is published at least once; a repetition
    carries the same `Nats-Msg-Id`. Rows that are read together are published as one atomic batch, because single
    publishes could overtake each other across a reconnect. Every publish names the sequence that it must follow, which
    fences former leaders: whatever one had in flight, or its client had buffered, is rejected once another leader has
    published. Headers carry CloudEvents 1.0 attributes (NATS protocol binding, binary mode).

    An event that NATS refuses for good, such as one that is too large, goes to the refused events after `ATTEMPTS`, and
    only the later events of its aggregate wait for it. Any other failure is retried for as long as it lasts.

    `lease`, `publish_timeout`, `poll_interval`, `pace` and `retry_delay` are in seconds.
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
        retry_delay: float = RETRY_DELAY,
    ) -> None:
        self._dsn = dsn(url)
        self._broker = broker
        self._source = source
        self._stream = stream.name
        self._lease = lease
        self._publish_timeout = publish_timeout
        self._poll_interval = poll_interval
        self._pace = pace
        self._retry_delay = retry_delay
        self._last_sequence = 0
        self._any_refused = False
        self._traces: dict[int, Trace] = {}
        """The trace of each row that is being published."""
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
            self._any_refused = (await session.fetch(ANY_REFUSED))[0][0]  # an operator may have settled the last one
            while count := await self._publish_batch(session):
                if count < BATCH_SIZE:  # a full one has left others: only a backlog is read without a pause
                    await asyncio.sleep(self._pace)
            await session.wait_notified(self._poll_interval)  # a lost notification delays events but loses none

    async def _publish_batch(self, session: LeaderSession) -> int:
        rows = await session.fetch(NEXT_BESIDE_REFUSED if self._any_refused else NEXT, BATCH_SIZE)
        if not rows:
            return 0
        if not self._broker.is_connected():
            # Otherwise the client would buffer each attempt in memory and send all of them after the reconnect.
            raise PublishRejected("NATS is disconnected")
        started = time.monotonic()
        failpoint(BEFORE_PUBLISH)
        published = rows
        subjects = [row["subject"] for row in rows]
        traces = [Trace(row["request_id"], row["traceparent"]) for row in rows]
        with batch_span("send", "PRODUCER", subjects, traces) as inner:
            self._traces = {row["seq"]: trace for row, trace in zip(rows, inner, strict=True)}
            if len(rows) == 1 or not await self._publish_atomically(rows):
                published = await self._publish_singly(session, rows)
        failpoint(AFTER_PUBLISH)
        await session.execute("DELETE FROM outbox WHERE seq = ANY($1)", [row["seq"] for row in published])
        failpoint(AFTER_REMOVAL)
        log.debug("events published", count=len(published), seconds=round(time.monotonic() - started, 4))
        return len(rows)

    async def _publish_singly(self, session: LeaderSession, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """Publish rows one by one and return them, without those that NATS refuses and the later ones that wait."""
        published, waiting = [], set()
        for row in rows:
            if row["aggregate_id"] in waiting:
                continue
            if reason := await self._refused(row):
                await session.execute(REFUSE, row["seq"], reason, ATTEMPTS)
                self._any_refused = True
                waiting.add(row["aggregate_id"])
                log.error("event refused: see `mkstore dead-letters list`", subject=row["subject"], reason=reason)
            else:
                published.append(row)
        return published

    async def _refused(self, row: asyncpg.Record) -> str:
        """Publish a row; return why NATS refuses it for good, or an empty string. Raises nats-py's errors otherwise."""
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._retry_delay)
            started = time.monotonic()
            try:
                if self._is_too_large(row):
                    raise MaxPayloadError
                await self._publish_one(row)
            except NatsError as error:
                if not (reason := await self._definite_reason(error, row, started)):
                    raise
            else:
                return ""
        return reason

    async def _definite_reason(self, error: NatsError, row: asyncpg.Record, started: float) -> str:
        """Return why NATS will not store this event; empty if it may do so later, such as in a full stream."""
        match error:
            case MaxPayloadError():
                return "It is larger than NATS accepts."
            case APIError(err_code=nats_errors.MESSAGE_TOO_LARGE):
                return f"It is larger than the stream {self._stream} accepts."
            case NoStreamResponseError() | APIError(err_code=nats_errors.WRONG_LAST_SEQUENCE):
                # The second one if another stream stores the subject, or another process leads.
                subjects = (await self._broker.jetstream.stream_info(self._stream)).config.subjects or ()
                if not any(covers(each, row["subject"]) for each in subjects):
                    return f"The stream {self._stream} does not store its subject."
            case NatsTimeout() if self._broker.denied_since(row["subject"], started):
                return "The login of the service may not publish its subject: run `mkstore docs`."
        return ""

    async def _publish_one(self, row: asyncpg.Record) -> None:
        ack = await self._broker.jetstream.publish(
            row["subject"], row["body"], timeout=self._publish_timeout, headers=self._headers(row) | self._fence()
        )
        self._last_sequence = max(self._last_sequence, ack.seq)  # a duplicate is acknowledged with the first sequence

    async def _publish_atomically(self, rows: Sequence[asyncpg.Record]) -> bool:
        """Publish all rows or none (NATS ADR-50).

        False if they have to be published singly: the stream already has one, from before a failure, or refuses one.
        """
        if any(map(self._is_too_large, rows)):
            return False
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
        started = time.monotonic()
        try:
            await publish_together(self._broker.client, messages)
            failpoint(HALF_A_BATCH)
            headers = last.headers | {"Nats-Batch-Commit": "1"}
            reply = await self._broker.client.request(last.subject, last.body, self._publish_timeout, headers=headers)
        except NoRespondersError:
            return False
        except NatsTimeout:
            if any(self._broker.denied_since(row["subject"], started) for row in rows):
                return False
            raise
        ack = json.loads(reply.data)
        error = ack.get("error")
        if error is None:
            self._last_sequence = ack["seq"]
            return True
        if error.get("err_code") in _NOT_AS_BATCH:
            return False
        raise PublishRejected(error.get("description", "the stream rejected a batch"))

    def _is_too_large(self, row: asyncpg.Record) -> bool:
        # nats-py compares the body alone, and the server ends the connection because of the headers.
        return len(row["body"]) > self._broker.client.max_payload - _HEADER_BYTES

    def _fence(self) -> dict[str, str]:
        return {EXPECTED_LAST_SEQUENCE: str(self._last_sequence)}

    def _headers(self, row: asyncpg.Record) -> dict[str, str]:
        return event_headers(row, self._source, self._traces[row["seq"]])
