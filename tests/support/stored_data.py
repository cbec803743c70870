"""Read the data of a running store directly: rows in PostgreSQL, messages in NATS streams."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
from nats.js.api import DeliverPolicy

from mkstore.chaos.audit import Auditor
from mkstore.chaos.store import Store
from tests.support.http_client import Caller

EventIds = dict[str, set[str]]
"""Event ids by the id of the payment or user that they are about."""


@dataclass(frozen=True)
class StoredMessage:
    """One message of a stream."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


async def rows(store: Store, database: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """Return the rows that a query selects in a service's database."""
    async with store.database(database) as connection:
        return list(await connection.fetch(query, *arguments))


async def recorded_ids(store: Store, user_id: str) -> list[str]:
    """Return the ids of the recorded payments of a user."""
    query = "SELECT id::text FROM payments WHERE user_id = $1::uuid"
    return [row["id"] for row in await rows(store, "payments_db", query, user_id)]


async def depth(store: Store, stream: str) -> int:
    """Return the number of messages in a stream."""
    async with store.jetstream() as jetstream:
        return int((await jetstream.stream_info(stream)).state.messages)


async def messages(store: Store, stream: str, subject: str = ">") -> list[StoredMessage]:
    """Return the messages of a stream in order, optionally of one subject only."""
    stored: list[StoredMessage] = []
    async with store.jetstream() as jetstream:
        if not (await jetstream.stream_info(stream, subjects_filter=subject)).state.subjects:
            return stored
        reader = await jetstream.subscribe(
            subject, stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
        )
        while True:
            message = await reader.next_msg(timeout=10)
            stored.append(StoredMessage(message.subject, message.headers or {}, message.data))
            if not message.metadata.num_pending:
                return stored


async def event_ids(store: Store, stream: str, subject: str = ">") -> EventIds:
    """Return the ids of the events in a stream, grouped by the payment or user that they are about."""
    ids: EventIds = defaultdict(set)
    for message in await messages(store, stream, subject):
        ids[message.headers["ce-subject"]].add(message.headers["ce-id"])
    return ids


async def wait_until_idle(store: Store) -> None:
    """Return once no command waits in the queue and no event in an outbox."""
    await Auditor(store).wait_until_idle()


async def only_payment(store: Store, caller: Caller) -> str:
    """Return the id of the caller's only payment; fail unless there is exactly one, with one event."""
    await wait_until_idle(store)
    (payment,) = await recorded_ids(store, caller.id)
    assert len((await event_ids(store, "PAYMENT_EVENTS"))[payment]) == 1
    return payment
