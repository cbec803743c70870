"""Reads the databases and streams of a store directly and compares them with the ledger of a round."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from contracts.consumers import PAYMENTS_CREATE_PAYMENT
from contracts.streams import DEAD_LETTERS, KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from mkstore.chaos.ledger import Ledger
from mkstore.chaos.store import Store, eventually
from mkstore.chaos.verdict import StreamEvent, Verdict, compare_payments, compare_users
from mkstore.services import SERVICES

_DRAIN_TIMEOUT = 90.0
_TABLES = (("payments_db", "payments"), ("users_db", "users"))


class Auditor:
    """Audits a store, round after round; remembers the position in each stream and the rows of each table."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._positions: dict[str, int] = {}
        self._dead_letters = 0
        self._rows_before = {table: 0 for _, table in _TABLES}

    async def wait_until_idle(self) -> None:
        """Return once no command or outbox event is pending.

        Raises `TimeoutError` after 90 s.
        """

        async def is_idle() -> bool:
            return not await self._count_pending()

        await _wait(is_idle)

    async def skip_history(self) -> None:
        """Wait until nothing is pending, and leave everything that is stored now out of the audits.

        Raises `TimeoutError` after 90 s.
        """
        await self.wait_until_idle()
        async with self._store.jetstream() as jetstream:
            self._dead_letters = (await jetstream.stream_info(DEAD_LETTERS.name)).state.messages
            for stream in (PAYMENT_EVENTS.name, USER_EVENTS.name):
                self._positions[stream] = (await jetstream.stream_info(stream)).state.last_seq
        for database, table in _TABLES:
            self._rows_before[table] = await self._count_rows(database, table)

    async def wait_until_drained(self, dead_letters: int = 0) -> None:
        """Return once no command or outbox event is pending and this round's `dead_letters` are in their queue.

        Raises `TimeoutError` after 90 s.
        """
        self._dead_letters += dead_letters

        async def is_drained() -> bool:
            if await self._count_pending():
                return False
            async with self._store.jetstream() as jetstream:
                return (await jetstream.stream_info(DEAD_LETTERS.name)).state.messages == self._dead_letters

        await _wait(is_drained)

    async def audit(self, ledger: Ledger) -> Verdict:
        """Compare the ledger of a finished and drained round with rows and events."""
        verdict = Verdict()
        await self._audit_payments(ledger, await self._new_events(PAYMENT_EVENTS.name), verdict)
        events = [each for each in await self._new_events(USER_EVENTS.name) if each.subject.startswith("user.")]
        await self._audit_users(ledger, events, verdict)
        verdict.revived += ledger.accepted_after_end
        return verdict

    async def _audit_payments(self, ledger: Ledger, events: list[StreamEvent], verdict: Verdict) -> None:
        ids = {event.aggregate for event in events} | {attempt.id for attempt in ledger.attempts if attempt.id}
        query = (
            "SELECT id::text, metadata->>'tag' AS tag, status FROM payments "
            "WHERE id = ANY($1::uuid[]) OR metadata->>'tag' = ANY($2::text[])"
        )
        rows = await self._select("payments_db", query, list(ids), [attempt.tag for attempt in ledger.attempts])
        compare_payments(ledger, [dict(row) for row in rows], events, verdict)
        await self._check_row_count("payments_db", "payments", len(rows), verdict)

    async def _audit_users(self, ledger: Ledger, events: list[StreamEvent], verdict: Verdict) -> None:
        ids = {event.aggregate for event in events} | {user.id for user in ledger.users if user.id}
        query = "SELECT id::text, version FROM users WHERE id = ANY($1::uuid[])"
        versions = {row["id"]: row["version"] for row in await self._select("users_db", query, list(ids))}
        compare_users(ledger, versions, events, verdict)
        await self._check_row_count("users_db", "users", len(versions), verdict)

    async def _check_row_count(self, database: str, table: str, added: int, verdict: Verdict) -> None:
        """Check that a table grew by `added` rows: nothing else reveals a row without an event."""
        self._rows_before[table] += added
        count = await self._count_rows(database, table)
        if count != self._rows_before[table]:
            verdict.phantom.append(f"{count - self._rows_before[table]} unexplained rows in {table}")
            self._rows_before[table] = count

    async def _count_pending(self) -> int:
        """Return the number of commands and outbox events that are not processed yet."""
        async with self._store.jetstream() as jetstream:
            pending: int = (await jetstream.stream_info(PAYMENT_COMMANDS.name)).state.messages
            # A keyed command stays in its stream after it is recorded.
            keyed = await jetstream.consumer_info(KEYED_PAYMENT_COMMANDS.name, PAYMENTS_CREATE_PAYMENT.name)
            pending += (keyed.num_pending or 0) + (keyed.num_ack_pending or 0)
        for spec in SERVICES:
            if spec.database is not None:
                pending += await self._count_rows(spec.database, "outbox")
        return pending

    async def _count_rows(self, database: str, table: str) -> int:
        ((count,),) = await self._select(database, f"SELECT count(*) FROM {table}")  # noqa: S608 - a fixed name
        return int(count)

    async def _select(self, database: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._store.database(database) as connection:
            return list(await connection.fetch(query, *arguments))

    async def _new_events(self, stream: str) -> list[StreamEvent]:
        """Return the events of a stream since the last call, in order."""
        async with self._store.jetstream() as jetstream:
            events, last = await read_events(jetstream, stream, self._positions.get(stream, 0) + 1)
        self._positions[stream] = last
        return events


async def read_events(jetstream: JetStreamContext, stream: str, first: int) -> tuple[list[StreamEvent], int]:
    """Return the events of a stream from the sequence `first` to the present last one, in order, and that one."""
    last: int = (await jetstream.stream_info(stream)).state.last_seq
    events: list[StreamEvent] = []
    if last < first:
        return events, last
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
    reader = await jetstream.subscribe(">", stream=stream, ordered_consumer=True, config=config)
    sequence = 0
    try:
        while sequence < last:
            message = await reader.next_msg(timeout=10)
            sequence = message.metadata.sequence.stream
            events.append(_event(message.subject, message.headers or {}, message.data))
    finally:
        await reader.unsubscribe()
    return events, last


async def _wait(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once `condition` holds; a server that does not respond yet does not fulfil it."""

    async def holds() -> bool:
        try:
            return await condition()
        except (OSError, asyncpg.PostgresError, nats.errors.Error):
            return False

    if not await eventually(holds, timeout=_DRAIN_TIMEOUT):
        raise TimeoutError(f"commands or events are still pending after {_DRAIN_TIMEOUT:g} s")


def _event(subject: str, headers: Mapping[str, str], body: bytes) -> StreamEvent:
    version = int(headers["ce-aggregateversion"])
    return StreamEvent(subject, headers["ce-id"], headers["ce-subject"], version, json.loads(body))
