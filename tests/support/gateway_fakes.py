"""Fakes of NATS in memory: streams, the payment queue and the outbox relay."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from apps.gateway.payments.batches import Assigned, NewCommand
from apps.gateway.payments.ids import BatchIds
from apps.gateway.sse.history import Position
from contracts.base import Event
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.errors import OutcomeUnknown, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import StoredMessage
from kit.runtime.tracing import Trace, trace


class MemoryBroker(Broker):
    """A broker under TestNatsBroker that can lose a service or NATS itself."""

    def __init__(self) -> None:
        super().__init__("nats://127.0.0.1:1", name="a store in memory")
        self.connected = True
        self.away: set[str] = set()
        self.silent: set[str] = set()

    def is_connected(self) -> bool:
        return self.connected

    async def check(self) -> None:
        if not self.connected:
            raise NatsTimeout

    async def request(self, message: Any, subject: str, *args: Any, **options: Any) -> Any:
        service = subject.partition(".")[0]
        if service in self.away:
            raise NoRespondersError
        if service in self.silent:
            raise NatsTimeout
        return await super().request(message, subject, *args, **options)


async def no_stored_keys() -> None:
    """Find no public keys in the stream: they arrive as messages only."""


class FakeHistory:
    """The event streams, one list each; sequence numbers begin with 1."""

    def __init__(self) -> None:
        self.streams: dict[str, list[StoredMessage]] = defaultdict(list)

    def keep(self, stream: Stream, subject: str, body: bytes) -> StoredMessage:
        kept = self.streams[stream.name]
        kept.append(StoredMessage(stream.name, len(kept) + 1, subject, body))
        return kept[-1]

    async def position(self) -> Position:
        return Position(len(self.streams[USER_EVENTS.name]), len(self.streams[PAYMENT_EVENTS.name]))

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        for event in self.streams[stream.name][after:to]:
            await asyncio.sleep(0)
            yield event


@dataclass
class Outbox:
    """Publishes the events of committed transactions in order."""

    broker: Broker
    history: FakeHistory
    rows: asyncio.Queue[tuple[Event, Trace]] = field(default_factory=asyncio.Queue)
    sent: list[tuple[Event, Trace]] = field(default_factory=list)

    def add(self, event: Event, origin: Trace) -> None:
        """Store an event for `relay`."""
        self.rows.put_nowait((event, origin))

    async def relay(self) -> None:
        while True:
            event, origin = await self.rows.get()
            stream = USER_EVENTS if event.subject.startswith("user.") else PAYMENT_EVENTS
            body = event.model_dump_json().encode()
            self.history.keep(stream, event.subject, body)
            self.sent.append((event, origin))
            headers = {"content-type": "application/json", "ce-id": str(uuid4())} | origin.headers()
            await self.broker.publish(body, event.subject, headers=headers, stream=stream.name)


class FakePaymentQueue:
    """A payment queue whose `consume` gets each command once `consuming` is set; it remembers keyed ones."""

    def __init__(self, consume: Callable[[CreatePayment, Trace], Awaitable[None]]) -> None:
        self._consume = consume
        self.pending: dict[UUID, tuple[CreatePayment, Trace]] = {}
        self.keyed: dict[UUID, CreatePayment] = {}
        self._published = asyncio.Event()
        self.consuming = asyncio.Event()
        self.consuming.set()
        self.refusal: Unavailable | OutcomeUnknown | None = None

    async def publish(self, new: NewCommand, caller: UUID, assigned: Assigned) -> CreatePayment:
        command = new(BatchIds().next(caller))
        assigned(command.id)
        self._add(command)
        return command

    async def publish_keyed(self, command: CreatePayment) -> bool:
        if not self.refusal and command.id in self.keyed:
            return False
        self._add(command)
        self.keyed[command.id] = command
        return True

    async def find_keyed(self, payment: UUID) -> CreatePayment | None:
        return self.keyed.get(payment)

    def _add(self, command: CreatePayment) -> None:
        if self.refusal:
            raise self.refusal
        self.pending[command.id] = command, trace.get()
        self._published.set()

    async def find(self, ids: Collection[UUID], *, queued: bool = True) -> list[CreatePayment]:
        """Return the pending commands, as `PendingPayments` does; there are no dead letters."""
        return [self.pending[each][0] for each in ids if each in self.pending] if queued else []

    async def work(self) -> None:
        while True:
            await self._published.wait()
            self._published.clear()
            await self.consuming.wait()
            for command, origin in list(self.pending.values()):
                await self._consume(command, origin)
                del self.pending[command.id]
