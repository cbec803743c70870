"""Streams and deliveries in memory are those of a nats-server: the same tests run on both."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import uuid4

import pytest

from contracts.headers import (
    DEAD_ATTEMPTS,
    DEAD_CONSUMER,
    DEAD_DETAIL,
    DEAD_FIRST_TIME,
    DEAD_LAST_TIME,
    DEAD_REASON,
    DEAD_STREAM,
    MESSAGE_ID,
    REQUEST_ID,
)
from contracts.keys import PublicKeys
from contracts.payments import PaymentCreated, PaymentStatus, PaymentView
from contracts.streams import DEAD, DEAD_LETTERS, PAYMENT_EVENTS, PUBLIC_KEYS, Stream
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from kit.messaging.retry import RETRY_POLICY, RetryPolicy
from kit.runtime.logging import configure_logging
from mkstore.stack.servers import NatsServer
from mkstore.testing import MemoryStore, in_memory
from tests.support.audit_service import AUDIT, Notes, audit, audit_router
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker, provision

OBSERVED = {"content-type": "application/json", REQUEST_ID: "a request"}


class Message(NamedTuple):
    """A stored message."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


class Nats(Protocol):
    """JetStream, in memory or a server, with the consumer `AUDIT`."""

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Store a message, and return its sequence."""

    async def stored(self, stream: Stream) -> list[Message]:
        """Return what a stream has."""


class _Memory:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> int:
        return (await self._store.streams.publish(subject, body, headers)).sequence

    async def stored(self, stream: Stream) -> list[Message]:
        return [Message(each.subject, each.headers, each.body) for each in self._store.streams.messages(stream)]


class _Server:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> int:
        return (await self._broker.jetstream.publish(subject, body, headers=dict(headers), timeout=15)).seq

    async def stored(self, stream: Stream) -> list[Message]:
        state = (await self._broker.jetstream.stream_info(stream.name)).state
        numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        found = [await self._broker.jetstream.get_msg(stream.name, number) for number in numbers]
        return [Message(each.subject or "", each.headers or {}, each.data or b"") for each in found]


Run = Callable[[Notes], AbstractAsyncContextManager[Nats]]


@pytest.fixture(params=["memory", "real"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return what runs JetStream with a consumer until the end of a block."""
    if request.param == "memory":
        return _in_memory
    server: NatsServer = request.getfixturevalue("nats")
    provision(server.url)
    return lambda notes: _on_server(server.url, notes)


@asynccontextmanager
async def _in_memory(notes: Notes) -> AsyncIterator[Nats]:
    async with in_memory(services=[], others={"audit": audit(notes)}) as store:
        yield _Memory(store)


@asynccontextmanager
async def _on_server(url: str, notes: Notes) -> AsyncIterator[Nats]:
    configure_logging("INFO", "console")  # structlog's default takes seconds to render a traceback
    broker = ProvisionedBroker(url, name="audit")
    broker.include_router(audit_router(notes))
    broker.context.set_global(RETRY_POLICY, RetryPolicy(first_delay=0.01, max_delay=0.01))
    await broker.start()
    try:
        yield _Server(broker)
    finally:
        await broker.stop()


def created() -> PaymentCreated:
    """Return the event of a new payment."""
    return PaymentCreated(
        payment=PaymentView(
            id=uuid4(),
            user_id=uuid4(),
            amount=1999,
            currency="USD",
            metadata={},
            status=PaymentStatus.CREATED,
            created_at=datetime.now(UTC),
        )
    )


async def send(nats: Nats, event: PaymentCreated, **headers: str) -> int:
    return await nats.publish(event.subject, event.model_dump_json().encode(), OBSERVED | headers)


async def test_message_id_is_stored_and_delivered_once(run: Run) -> None:
    notes, first, second = Notes(), created(), created()
    async with run(notes) as nats:
        sequences = [await send(nats, first, **{MESSAGE_ID: "1"}) for _ in range(2)]
        sequences.append(await send(nats, second, **{MESSAGE_ID: "2"}))
        await eventually(lambda: len(notes.payments) >= 2)
        stored = await nats.stored(PAYMENT_EVENTS)
    assert sequences == [1, 1, 2]
    assert [each.body for each in stored] == [each.model_dump_json().encode() for each in (first, second)]
    assert sorted(notes.payments) == sorted(str(each.payment.id) for each in (first, second))


async def test_last_state_replaces_the_earlier_ones(run: Run) -> None:
    async with run(Notes()) as nats:
        sequences = [await nats.publish(PublicKeys.subject, body, {}) for body in (b"1", b"2")]
        assert [each.body for each in await nats.stored(PUBLIC_KEYS)] == [b"2"]
    assert sequences == [1, 2]


async def test_failed_message_has_one_inbox_key_for_all_attempts(run: Run) -> None:
    notes = Notes(RuntimeError("first"), *[Unavailable("ledger")] * 12, RuntimeError("second"))
    async with run(notes) as nats:
        await send(nats, created())
        await eventually(lambda: notes.payments)
        assert await nats.stored(DEAD_LETTERS) == []
    assert len(notes.keys) == 15
    [key] = set(notes.keys)
    assert key.consumer == AUDIT.name
    assert key.message_id.startswith(f"PAYMENT_EVENTS.1.{datetime.now(UTC).year}-")


async def test_message_given_up_becomes_the_same_dead_letter(run: Run) -> None:
    notes, event = Notes(*[RuntimeError("a defect")] * 10), created()
    async with run(notes) as nats:
        await send(nats, event)
        [letter] = await eventually(lambda: nats.stored(DEAD_LETTERS))
    assert (letter.subject, letter.body) == (f"{DEAD}payment.created", event.model_dump_json().encode())
    described = {name: value for name, value in letter.headers.items() if name not in {DEAD_FIRST_TIME, DEAD_LAST_TIME}}
    assert described.pop(MESSAGE_ID)
    assert described == OBSERVED | {
        DEAD_ATTEMPTS: "10",
        DEAD_CONSUMER: AUDIT.name,
        DEAD_DETAIL: "a defect",
        DEAD_REASON: "RuntimeError",
        DEAD_STREAM: "PAYMENT_EVENTS",
    }
    assert letter.headers[DEAD_FIRST_TIME] <= letter.headers[DEAD_LAST_TIME]


async def test_invalid_message_is_dead_lettered_at_once(run: Run) -> None:
    notes = Notes()
    async with run(notes) as nats:
        await nats.publish("payment.created", b"{}", OBSERVED)
        [letter] = await eventually(lambda: nats.stored(DEAD_LETTERS))
    assert (letter.headers[DEAD_REASON], letter.headers[DEAD_ATTEMPTS]) == ("ValidationError", "1")
    assert notes.keys == []
