"""What a store really holds, read past its services, against what the people of a round were told."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from mkstore.prove.ledger import Ledger, Person
from mkstore.prove.store import Store, eventually

_SETTLED_SECONDS = 90.0


@dataclass
class Verdict:
    """What an audit found; each list has a sentence for each thing that must not be."""

    recorded: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    """What nobody asked for, or what was refused and is there all the same."""
    untold: list[str] = field(default_factory=list)
    """Changes without their event."""
    misordered: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, list[str]]:
        """The lists by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, list)}

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not any(self.faults.values())


@dataclass(frozen=True)
class Told:
    """One event in a stream."""

    subject: str
    event_id: str
    aggregate: str
    version: int
    body: dict[str, Any]


class Auditor:
    """Audits one store round after round; remembers how far it has read the streams."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, int] = {}
        self._poisons = 0

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
        wishes = {wish.tag: wish for wish in ledger.wishes}
        found = await self._rows("payments_db", query, list(ids), list(wishes))
        verdict.recorded = len(found)
        rows = defaultdict(list)
        for row in found:
            rows[row["tag"]].append(row)
        for tag, here in rows.items():
            wish = wishes.get(tag)
            if wish is None or (wish.id is None and not wish.doubtful):
                verdict.phantoms.append(f"payment {here[0]['id']}: {'refused' if wish else 'nobody asked for it'}")
            if len(here) > 1:
                verdict.doubled.append(f"payments {[row['id'] for row in here]} of one wish")
        for wish in ledger.wishes:
            if wish.id and wish.id not in {row["id"] for row in rows.get(wish.tag, ())}:
                verdict.lost.append(f"payment {wish.id}, tag {wish.tag}")
        _events_of({row["id"]: row["status"] for row in found}, told, verdict)

    async def _users(self, ledger: Ledger, payers: list[Person], told: list[Told], verdict: Verdict) -> None:
        events: dict[str, list[Told]] = defaultdict(list)
        seen: dict[str, str] = {}
        for event in told:
            if (
                seen.setdefault(event.event_id, event.aggregate) == event.aggregate
                and event not in events[event.aggregate]
            ):
                events[event.aggregate].append(event)
        people = {person.email: person for person in ledger.people}
        known = {person.id: person for person in ledger.people if person.id}
        for events_of in events.values():
            if events_of[0].subject == "user.created":
                email = events_of[0].body["user"]["email"]
                if email in people:
                    known[events_of[0].aggregate] = people[email]
        expected = {person.id for person in payers}
        query = "SELECT id::text, name, version, deleted_at FROM users WHERE id = ANY($1::uuid[])"
        rows = {row["id"]: row for row in await self._rows("users_db", query, [*events, *known])}
        for user, person in known.items():
            _user(user or "", person, events.pop(user or "", []), rows.get(user or ""), verdict)
        verdict.phantoms += [f"event of a user nobody knows: {user}" for user in events if user not in expected]

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


def _events_of(payments: Mapping[str, str], told: list[Told], verdict: Verdict) -> None:
    """Compare the events with the recorded payments: each has one, of one id."""
    events = defaultdict(set)
    for event in told:
        events[event.aggregate].add((event.event_id, event.subject))
    for payment, status in payments.items():
        about = events.pop(payment, set())
        if {subject for _, subject in about} != {f"payment.{status}"}:
            verdict.untold.append(f"payment {payment} ({status}): {about or 'no event'}")
        elif len(about) > 1:
            verdict.doubled.append(f"payment {payment} has events of several ids: {about}")
    verdict.phantoms += [f"event of a payment that is not recorded: {payment}" for payment in events]


def _user(user: str, person: Person, events: list[Told], row: Any, verdict: Verdict) -> None:
    """Compare one person's changes with the events and the row."""
    versions = [event.version for event in events]
    if versions != list(range(1, len(versions) + 1)):
        verdict.misordered.append(f"user {user}: versions {versions}")
    if row is None or (events and row["version"] != versions[-1]):
        verdict.untold.append(f"user {user}: {row and row['version']} in the database, {versions} told")
    names = {(event.subject, event.body.get("user", {}).get("name")): event.version for event in events}
    for change in person.changes:
        at = names.pop((f"user.{change.kind}", change.name), None)
        if change.version is not None and at is None:
            verdict.lost.append(f"user {user}: {change} has no event")
        if change.version is not None and change.version > 0 and at not in {None, change.version}:
            verdict.misordered.append(f"user {user}: {change} was told as version {at}")
        if at is not None and change.version is None and not change.doubtful:
            verdict.phantoms.append(f"user {user}: {change} was refused and told")
    verdict.phantoms += [f"user {user}: {subject} {name} was never asked for" for subject, name in names]
