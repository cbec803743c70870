"""Read the data of a running store directly: rows in PostgreSQL, messages in NATS streams."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
from nats.js.api import DeliverPolicy
from nats.js.errors import NotFoundError

from contracts.consumers import PAYMENTS_CREATE_PAYMENT
from contracts.payments import CreatePayments
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS
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


async def queued_payments(store: Store) -> int:
    """Return the number of accepted payments that no consumer has acknowledged."""
    async with store.jetstream() as jetstream:
        keyed = await jetstream.consumer_info(KEYED_PAYMENT_COMMANDS.name, PAYMENTS_CREATE_PAYMENT.name)
        queued = (keyed.num_pending or 0) + (keyed.num_ack_pending or 0)
        state = (await jetstream.stream_info(PAYMENT_COMMANDS.name)).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            with suppress(NotFoundError):
                message = await jetstream.get_msg(PAYMENT_COMMANDS.name, sequence)
                queued += len(CreatePayments.model_validate_json(message.data or b"").items)
        return queued


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
