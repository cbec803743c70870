"""Read the state of a running store directly: rows in PostgreSQL, messages in NATS streams."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
from nats.js import JetStreamContext
from nats.js.api import DeliverPolicy

from tests.support.http_client import Caller
from tests.support.payment_load import PaymentLoad
from tests.support.polling import eventually
from tests.support.running_store import Running

CloudEvents = dict[str, set[str]]
"""Event ids by the id of the payment or user that they are about."""


@dataclass(frozen=True)
class Stored:
    """One message of a stream."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


async def rows(mkstore: Running, database: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """Return the rows that a query selects in a service's database."""
    url = urlsplit(mkstore.record["postgres"]["url"])
    connection = await asyncpg.connect(urlunsplit(url._replace(path=f"/{database}")))
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def recorded(mkstore: Running, user_ids: list[str]) -> list[asyncpg.Record]:
    """Return the recorded payments of these users: `id`, `tag` (from the metadata), `status`, `created_at`."""
    query = "SELECT id::text, metadata->>'tag' AS tag, status, created_at FROM payments WHERE user_id = ANY($1::uuid[])"
    return await rows(mkstore, "payments_db", query, user_ids)


@asynccontextmanager
async def jetstream(mkstore: Running) -> AsyncIterator[JetStreamContext]:
    """Yield JetStream on a connection with the operator's login."""
    client = await nats.connect(mkstore.record["nats"]["admin_url"], connect_timeout=5)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def depth(mkstore: Running, stream: str) -> int:
    """Return the number of messages in a stream."""
    async with jetstream(mkstore) as context:
        return int((await context.stream_info(stream)).state.messages)


async def messages(mkstore: Running, stream: str, subject: str = ">") -> list[Stored]:
    """Return the messages of a stream in order, optionally of one subject only."""
    stored: list[Stored] = []
    async with jetstream(mkstore) as context:
        if not (await context.stream_info(stream, subjects_filter=subject)).state.subjects:
            return stored
        reader = await context.subscribe(
            subject, stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
        )
        while True:
            message = await reader.next_msg(timeout=10)
            stored.append(Stored(message.subject, message.headers or {}, message.data))
            if not message.metadata.num_pending:
                return stored


async def event_ids(mkstore: Running, stream: str, subject: str = ">") -> CloudEvents:
    """Return the ids of the events in a stream, grouped by the payment or user that they are about."""
    ids: CloudEvents = defaultdict(set)
    for message in await messages(mkstore, stream, subject):
        ids[message.headers["ce-subject"]].add(message.headers["ce-id"])
    return ids


async def wait_until_settled(mkstore: Running, *, timeout: float = 60.0) -> None:
    """Return once no command waits in the queue and no event in an outbox."""
    left: dict[str, int] = {}

    async def is_settled() -> bool:
        left["commands"] = await depth(mkstore, "PAYMENT_COMMANDS")
        for database in ("payments_db", "users_db"):
            left[database] = (await rows(mkstore, database, "SELECT count(*) FROM outbox"))[0][0]
        return not any(left.values())

    await eventually(is_settled, timeout=timeout, describe=lambda: f"still waiting: {left}")


async def audit_payments(mkstore: Running, load: PaymentLoad) -> str:
    """Fail unless every accepted payment is recorded once, with one event, and no other payment is recorded.

    Returns the figures in a sentence.
    """
    answered = {attempt.tag: attempt.id for attempt in load.answered}
    await wait_until_settled(mkstore)
    stored = await recorded(mkstore, load.user_ids)
    tags = Counter(row["tag"] for row in stored)
    assert tags.keys() <= {attempt.tag for attempt in load.attempts}, "a payment that nobody made"
    assert not {tag: count for tag, count in tags.items() if count > 1}, "a payment that was recorded twice"
    assert {row["tag"]: row["id"] for row in stored}.items() >= answered.items()

    events = await event_ids(mkstore, "PAYMENT_EVENTS")
    assert not [row["id"] for row in stored if len(events[row["id"]]) != 1], "a payment without exactly one event"
    assert await depth(mkstore, "DEAD_LETTERS") == 0
    assert not load.unexpected, load.unexpected[:5]
    return f"{len(answered)} answered, {len(stored)} recorded once, each with one event; refused: {dict(load.refusals)}"


async def audit_over_http(load: PaymentLoad) -> None:
    """Fail unless each caller finds all accepted payments in its list, and a sample of them by id."""

    async def audit(caller: Caller) -> None:
        listed: list[str] = []
        parameters: dict[str, Any] = {"limit": 100}
        while True:
            page = (await caller("GET", "/payments", params=parameters)).json()
            listed += [payment["id"] for payment in page["data"]]
            if not page["hasMore"]:
                break
            parameters["cursor"] = page["nextCursor"]
        own = [attempt for attempt in load.answered if attempt.caller is caller]
        assert len(listed) == len(set(listed))
        assert {attempt.id for attempt in own} <= set(listed)
        for attempt in own[:: 2 * load.read_every]:
            answer = await caller("GET", f"/payments/{attempt.id}")
            assert (answer.status_code, answer.json()["status"]) == (200, "created"), answer.text

    await asyncio.gather(*(audit(caller) for caller in load.callers))


async def only_payment(mkstore: Running, caller: Caller) -> str:
    """Return the id of the caller's only payment; fail unless there is exactly one, with one event."""
    await wait_until_settled(mkstore)
    stored = await recorded(mkstore, [caller.id])
    assert len(stored) == 1, stored
    payment = str(stored[0]["id"])
    assert len((await event_ids(mkstore, "PAYMENT_EVENTS"))[payment]) == 1
    return payment
