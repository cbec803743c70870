"""What a store really holds, read past its services, against what the people of a round were told."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from mkstore.chaos.ledger import Ledger, Person
from mkstore.chaos.store import Store, eventually
from mkstore.chaos.verdict import Told, Verdict, compare_payments, compare_users

_SETTLED_SECONDS = 90.0


class Auditor:
    """Audits one store round after round; remembers how far it has read the streams."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, int] = {}
        self._poisons = 0
        self._payers: set[str] = set()
        self._rows_before = {"payments": 0, "users": 0}

    async def wait_until_settled(self, poisons: int) -> None:
        """Return once nothing is under way, and what was poison in this round is a dead letter.

        Raises:
            TimeoutError: something still waits after 90 s.

        """
        self._poisons += poisons
        if not await eventually(self._settled, within=_SETTLED_SECONDS):
            raise TimeoutError(f"something still waits after {_SETTLED_SECONDS:g} s")

    async def audit(self, ledger: Ledger, payers: list[Person]) -> Verdict:
        """Compare a round that is over and settled with what is there."""
        verdict = Verdict()
        payments = await self._told("PAYMENT_EVENTS")
        await self._payments(ledger, payments, verdict)
        await self._users(ledger, payers, await self._told("USER_EVENTS"), verdict)
        return verdict

    async def _payments(self, ledger: Ledger, told: list[Told], verdict: Verdict) -> None:
        ids = {event.aggregate for event in told} | {wish.id for wish in ledger.wishes if wish.id}
        query = (
            "SELECT id::text, metadata->>'tag' AS tag, status FROM payments "
            "WHERE id = ANY($1::uuid[]) OR metadata->>'tag' = ANY($2::text[])"
        )
        rows = await self._rows("payments_db", query, list(ids), [wish.tag for wish in ledger.wishes])
        compare_payments(ledger, [dict(row) for row in rows], told, verdict)
        await self._nothing_else("payments_db", "payments", len(rows), verdict)

    async def _users(self, ledger: Ledger, payers: list[Person], told: list[Told], verdict: Verdict) -> None:
        ids = {event.aggregate for event in told} | {person.id for person in ledger.people if person.id}
        query = "SELECT id::text, version FROM users WHERE id = ANY($1::uuid[])"
        versions = {row["id"]: row["version"] for row in await self._rows("users_db", query, list(ids))}
        others = {person.id or "" for person in payers}
        compare_users(ledger, others, versions, told, verdict)
        # Those who pay are there from the first round on; their events belong to that.
        await self._nothing_else("users_db", "users", len(versions.keys() | (others - self._payers)), verdict)
        self._payers |= others

    async def _nothing_else(self, database: str, table: str, more: int, verdict: Verdict) -> None:
        """Make sure that a table grew by what the round explains: a row without an event has no other witness."""
        self._rows_before[table] += more
        (found,) = await self._rows(database, f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of ours
        if found[0] != self._rows_before[table]:
            verdict.phantoms.append(f"{found[0] - self._rows_before[table]} rows too many in {table}")
            self._rows_before[table] = found[0]

    async def _settled(self) -> bool:
        try:
            async with self._jetstream() as jetstream:
                waiting = (await jetstream.stream_info("PAYMENT_COMMANDS")).state.messages
                dead = (await jetstream.stream_info("DEAD_LETTERS")).state.messages
            for database in ("payments_db", "users_db"):
                waiting += (await self._rows(database, "SELECT count(*) FROM outbox"))[0][0]
        except (OSError, asyncpg.PostgresError, nats.errors.Error):
            return False
        return not waiting and dead == self._poisons

    async def _rows(self, database: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
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

    async def _told(self, stream: str) -> list[Told]:
        """Return what came into a stream since the last call, in order."""
        found: list[Told] = []
        first = self._read.get(stream, 0) + 1
        async with self._jetstream() as jetstream:
            last = (await jetstream.stream_info(stream)).state.last_seq
            if last < first:
                return found
            config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
            reader = await jetstream.subscribe(">", stream=stream, ordered_consumer=True, config=config)
            while self._read.get(stream, 0) < last:
                message = await reader.next_msg(timeout=10)
                self._read[stream] = message.metadata.sequence.stream
                found.append(_told(message.subject, message.headers or {}, message.data))
        return found


def _told(subject: str, headers: Mapping[str, str], body: bytes) -> Told:
    return Told(subject, headers["ce-id"], headers["ce-subject"], int(headers["ce-aggregateversion"]), json.loads(body))
