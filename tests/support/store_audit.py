"""What the store really holds, read past its services: rows in PostgreSQL, messages on NATS."""

import asyncio
import time
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
from tests.support.payment_load import Till
from tests.support.running_store import Running

CloudEvents = dict[str, set[str]]
"""The ids of the events about each thing."""


@dataclass(frozen=True)
class Stored:
    """One message of a stream."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


async def rows(mkstore: Running, database: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """Return what a query finds in a service's database."""
    url = urlsplit(mkstore.record["postgres"]["url"])
    connection = await asyncpg.connect(urlunsplit(url._replace(path=f"/{database}")))
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def recorded(mkstore: Running, user_ids: list[str]) -> list[asyncpg.Record]:
    """Return every payment that is recorded of some users: `id`, `tag` (of its metadata), `status`, `created_at`."""
    query = "SELECT id::text, metadata->>'tag' AS tag, status, created_at FROM payments WHERE user_id = ANY($1::uuid[])"
    return await rows(mkstore, "payments_db", query, user_ids)


@asynccontextmanager
async def jetstream(mkstore: Running) -> AsyncIterator[JetStreamContext]:
    """Yield JetStream on the operator's connection."""
    client = await nats.connect(mkstore.record["nats"]["admin_url"], connect_timeout=5)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def depth(mkstore: Running, stream: str) -> int:
    """Return how many messages a stream holds."""
    async with jetstream(mkstore) as context:
        return int((await context.stream_info(stream)).state.messages)


async def messages(mkstore: Running, stream: str, subject: str = ">") -> list[Stored]:
    """Return all messages of a stream, in order, or those of one subject."""
    found: list[Stored] = []
    async with jetstream(mkstore) as context:
        if not (await context.stream_info(stream, subjects_filter=subject)).state.subjects:
            return found
        reader = await context.subscribe(
            subject, stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
        )
        while True:
            message = await reader.next_msg(timeout=10)
            found.append(Stored(message.subject, message.headers or {}, message.data))
            if not message.metadata.num_pending:
                return found


async def event_ids(mkstore: Running, stream: str, subject: str = ">") -> CloudEvents:
    """Return, for each thing that a stream tells of, the ids of the events about it."""
    ids: CloudEvents = defaultdict(set)
    for message in await messages(mkstore, stream, subject):
        ids[message.headers["ce-subject"]].add(message.headers["ce-id"])
    return ids


async def wait_until_settled(mkstore: Running, *, within: float = 60.0) -> None:
    """Return once no command waits to be carried out and no event to be sent."""
    began, left = time.monotonic(), {"?": 1}
    while any(left.values()):
        assert time.monotonic() - began < within, f"left after {within:g} s: {left}"
        if "?" not in left:
            await asyncio.sleep(0.2)
        left = {"commands": await depth(mkstore, "PAYMENT_COMMANDS")}
        for database in ("payments_db", "users_db"):
            left[database] = (await rows(mkstore, database, "SELECT count(*) FROM outbox"))[0][0]


async def audit_payments(mkstore: Running, till: Till) -> str:
    """Fail unless every answered payment is recorded once, with one event, and nothing is that nobody asked for.

    Returns the figures in a sentence.
    """
    answered = {wish.tag: wish.id for wish in till.answered}
    wanted = {wish.tag for wish in till.wishes}
    await wait_until_settled(mkstore)
    found = await recorded(mkstore, till.user_ids)
    tags = Counter(row["tag"] for row in found)
    assert tags.keys() <= wanted, "a payment that nobody asked for"
    assert not {tag: count for tag, count in tags.items() if count > 1}, "a payment that was made twice"
    assert {row["tag"]: row["id"] for row in found}.items() >= answered.items()

    told = await event_ids(mkstore, "PAYMENT_EVENTS")
    assert not [row["id"] for row in found if len(told[row["id"]]) != 1], "a payment without one event of one id"
    assert await depth(mkstore, "DEAD_LETTERS") == 0
    assert not till.surprises, till.surprises[:5]
    return f"{len(answered)} answered, {len(found)} recorded once, each with one event; refused: {dict(till.refusals)}"


async def audit_over_http(till: Till) -> None:
    """Fail unless each caller finds all that it was answered in its list, and each payment under its own address."""

    async def one(caller: Caller) -> None:
        seen: list[str] = []
        parameters: dict[str, Any] = {"limit": 100}
        while True:
            page = (await caller("GET", "/payments", params=parameters)).json()
            seen += [payment["id"] for payment in page["data"]]
            if not page["hasMore"]:
                break
            parameters["cursor"] = page["nextCursor"]
        mine = [wish for wish in till.answered if wish.caller is caller]
        assert len(seen) == len(set(seen))
        assert {wish.id for wish in mine} <= set(seen)
        for wish in mine[:: 2 * till.look_at_each]:
            answer = await caller("GET", f"/payments/{wish.id}")
            assert (answer.status_code, answer.json()["status"]) == (200, "created"), answer.text

    await asyncio.gather(*(one(caller) for caller in till.callers))
