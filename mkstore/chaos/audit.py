"""Reads the databases and streams of a store directly and compares them with the ledger of a round."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from mkstore.chaos.ledger import Ledger, User
from mkstore.chaos.store import Store, eventually
from mkstore.chaos.verdict import StreamEvent, Verdict, compare_payments, compare_users
from mkstore.services import SERVICES

_DRAIN_TIMEOUT = 90.0


class Auditor:
    """Audits one store, round after round; remembers the position in each stream and the rows of each table."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._positions: dict[str, int] = {}
        self._dead_letters = 0
        self._payers: set[str] = set()
        self._rows_before = {"payments": 0, "users": 0}

    async def wait_until_drained(self, dead_letters: int) -> None:
        """Return once no command or outbox event is pending and this round's `dead_letters` are in their queue.

        Raises `TimeoutError` after 90 s.
        """
        self._dead_letters += dead_letters
        if not await eventually(self._is_drained, timeout=_DRAIN_TIMEOUT):
            raise TimeoutError(f"commands or events are still pending after {_DRAIN_TIMEOUT:g} s")

    async def audit(self, ledger: Ledger, payers: list[User]) -> Verdict:
        """Compare the ledger of a finished and drained round with rows and events."""
        verdict = Verdict()
        await self._audit_payments(ledger, await self._new_events(PAYMENT_EVENTS.name), verdict)
        await self._audit_users(ledger, payers, await self._new_events(USER_EVENTS.name), verdict)
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

    async def _audit_users(
        self, ledger: Ledger, payers: list[User], events: list[StreamEvent], verdict: Verdict
    ) -> None:
        ids = {event.aggregate for event in events} | {user.id for user in ledger.users if user.id}
        query = "SELECT id::text, version FROM users WHERE id = ANY($1::uuid[])"
        versions = {row["id"]: row["version"] for row in await self._select("users_db", query, list(ids))}
        payer_ids = {payer.id or "" for payer in payers}
        compare_users(ledger, payer_ids, versions, events, verdict)
        # Payers exist from the first round on; their events belong to that round.
        await self._check_row_count("users_db", "users", len(versions.keys() | (payer_ids - self._payers)), verdict)
        self._payers |= payer_ids

    async def _check_row_count(self, database: str, table: str, added: int, verdict: Verdict) -> None:
        """Check that a table grew by `added` rows: nothing else reveals a row without an event."""
        self._rows_before[table] += added
        (row,) = await self._select(database, f"SELECT count(*) FROM {table}")  # noqa: S608 - a fixed name
        if row[0] != self._rows_before[table]:
            verdict.phantom.append(f"{row[0] - self._rows_before[table]} unexplained rows in {table}")
            self._rows_before[table] = row[0]

    async def _is_drained(self) -> bool:
        try:
            async with self._jetstream() as jetstream:
                pending = (await jetstream.stream_info(PAYMENT_COMMANDS.name)).state.messages
                dead_letters = (await jetstream.stream_info(DEAD_LETTERS.name)).state.messages
            for spec in SERVICES:
                if spec.database is not None:
                    pending += (await self._select(spec.database, "SELECT count(*) FROM outbox"))[0][0]
        except (OSError, asyncpg.PostgresError, nats.errors.Error):
            return False
        return not pending and dead_letters == self._dead_letters

    async def _select(self, database: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
        url = urlsplit(self._store.record["postgres"]["url"])
        connection = await asyncpg.connect(urlunsplit(url._replace(path=f"/{database}")))
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    @asynccontextmanager
    async def _jetstream(self) -> AsyncIterator[JetStreamContext]:
        client = await nats.connect(self._store.record["nats"]["admin_url"], connect_timeout=5)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def _new_events(self, stream: str) -> list[StreamEvent]:
        """Return the events of a stream since the last call, in order."""
        events: list[StreamEvent] = []
        first = self._positions.get(stream, 0) + 1
        async with self._jetstream() as jetstream:
            last = (await jetstream.stream_info(stream)).state.last_seq
            if last < first:
                return events
            config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
            reader = await jetstream.subscribe(">", stream=stream, ordered_consumer=True, config=config)
            while self._positions.get(stream, 0) < last:
                message = await reader.next_msg(timeout=10)
                self._positions[stream] = message.metadata.sequence.stream
                events.append(_event(message.subject, message.headers or {}, message.data))
        return events


def _event(subject: str, headers: Mapping[str, str], body: bytes) -> StreamEvent:
    version = int(headers["ce-aggregateversion"])
    return StreamEvent(subject, headers["ce-id"], headers["ce-subject"], version, json.loads(body))
