"""The payments service under test: in memory with a fake repository, or the real app on real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from nats.js.errors import NotFoundError

from apps.payments.main import create_app
from apps.payments.pending import PendingPayments
from apps.payments.settings import Settings
from contracts.consumers import PAYMENTS_CREATE_PAYMENT
from contracts.headers import DEAD_REASON, REQUEST_ID
from contracts.payments import (
    CreatePayment,
    GetPayments,
    PaymentStatus,
    PaymentView,
)
from contracts.streams import (
    DEAD_LETTERS,
    KEYED_PAYMENT_COMMANDS,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
)
from contracts.users import Role, UserCreated, UserDeleted, UserUpdated, UserView
from kit import database
from kit.messaging.broker import Broker
from kit.runtime.tracing import Trace
from mkstore import testing
from mkstore.testing import MemoryStore
from mkstore.testing.fakes.payment_queue import batch_of, published
from mkstore.testing.fakes.payments import PaymentsData
from tests.support.polling import eventually
from tests.support.service_harness import PublishedEvent, Service, running, stored_events

FindPending = Callable[..., Awaitable[list[CreatePayment]]]
LIMIT = 1_000_000
"""A payment above it is rejected."""


UserEvent = UserCreated | UserUpdated | UserDeleted


def user_event(user_id: UUID, version: int, state: str = "active") -> UserEvent:
    """Return the event of a user who became active, disabled or deleted with a version."""
    now = datetime.now(UTC)
    if state == "deleted":
        return UserDeleted(id=user_id, version=version, deleted_at=now)
    view = UserView(
        id=user_id,
        email=f"{user_id}@example.com",
        name=None,
        role=Role.USER,
        disabled=state == "disabled",
        version=version,
        created_at=now,
        updated_at=now,
    )
    return UserCreated(user=view) if version == 1 else UserUpdated(user=view)


def event_id(event: UserEvent) -> str:
    """Return the id under which an event is published, the same for every repetition."""
    return f"{event.aggregate_id}-{event.aggregate_version}"


class PaymentsService(Service):
    """A running payments service."""

    async def send(self, *commands: CreatePayment, request_id: str = "") -> None:
        """Send commands, all with one request id."""
        raise NotImplementedError

    async def publish(self, *events: UserEvent) -> None:
        """Publish events of users, as the users service does."""
        raise NotImplementedError

    async def payer(self, user_id: UUID) -> tuple[int, str] | None:
        """Return the version and the state of a payer; None for an unknown one."""
        raise NotImplementedError

    async def dead_letter_reason(self, payment_id: UUID) -> str | None:
        """Return why the command of a payment was dead-lettered; None if it was not."""
        raise NotImplementedError

    def table_locked(self) -> AbstractAsyncContextManager[None]:
        """Lock the table of payments against writes until the block ends; reads continue."""
        raise NotImplementedError

    async def get(self, payment_id: UUID) -> PaymentView | None:
        """Return one payment, recorded or pending; None for an unknown id."""
        payments = (await self.request(GetPayments(ids=(payment_id,)))).payments
        return payments[0] if payments else None

    async def recorded(self, payment_id: UUID) -> PaymentView:
        """Return a payment once it is recorded."""

        async def find() -> PaymentView | None:
            view = await self.get(payment_id)
            return None if view is None or view.status is PaymentStatus.PENDING else view

        view = await eventually(find)
        assert view is not None
        return view


class FakePending(PendingPayments):
    """Finds pending payments with `find`."""

    def __init__(self, find: FindPending) -> None:
        self._find = find

    async def find(self, ids: Collection[UUID], *, queued: bool = True) -> list[CreatePayment]:
        return await self._find(ids, queued=queued)


class InMemory(PaymentsService):
    """The service in memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store.broker)
        self._store = store
        self._data: PaymentsData = store.services["payments"].data

    async def send(self, *commands: CreatePayment, request_id: str = "") -> None:
        for command in commands:
            message, _ = published(command, Trace(request_id))
            headers = {REQUEST_ID: request_id} if request_id else {}
            await self._store.publish_raw(message.address, message.model_dump_json().encode(), headers)

    async def publish(self, *events: UserEvent) -> None:
        for event in events:
            await self._store.publish_raw(event.subject, event.model_dump_json().encode(), {"ce-id": event_id(event)})

    async def payer(self, user_id: UUID) -> tuple[int, str] | None:
        payer = self._data.payers.get(user_id)
        return None if payer is None else (payer.version, payer.state)

    async def all_events(self) -> list[PublishedEvent]:
        return [PublishedEvent(event, origin.headers()) for event, origin in self._data.events]

    async def dead_letter_reason(self, payment_id: UUID) -> str | None:
        letters = await self._store.dead_lettered(CreatePayment, 0)
        reasons = [each.reason for each in letters if each.subject == CreatePayment.address_of(payment_id)]
        return reasons[-1] if reasons else None

    @asynccontextmanager
    async def table_locked(self) -> AsyncIterator[None]:
        self._data.unlocked.clear()
        yield
        self._data.unlocked.set()


class OnServers(PaymentsService):
    """A client of the service on real servers, with access to its database."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        super().__init__(broker)
        self._settings = settings

    async def send(self, *commands: CreatePayment, request_id: str = "") -> None:
        headers = {"content-type": "application/json"} | ({REQUEST_ID: request_id} if request_id else {})
        messages = [published(command, Trace(request_id))[0] for command in commands]
        await asyncio.gather(
            *(
                self.broker.jetstream.publish(
                    message.address, message.model_dump_json().encode(), headers=headers, timeout=15
                )
                for message in messages
            )
        )

    async def send_together(self, *commands: CreatePayment) -> None:
        """Send commands with the ids of one batch in one message."""
        batch = batch_of(*commands)
        await self.broker.jetstream.publish(batch.address, batch.model_dump_json().encode(), timeout=15)

    async def publish(self, *events: UserEvent) -> None:
        for event in events:
            await self.broker.jetstream.publish(
                event.subject, event.model_dump_json().encode(), headers={"ce-id": event_id(event)}, timeout=15
            )

    async def payer(self, user_id: UUID) -> tuple[int, str] | None:
        async with self.sql() as connection:
            row = await connection.fetchrow("SELECT version, state FROM payers WHERE id = $1", user_id)
        return None if row is None else (row["version"], row["state"])

    async def all_events(self) -> list[PublishedEvent]:
        return await stored_events(self.broker, PAYMENT_EVENTS, "payments")

    async def dead_letter_reason(self, payment_id: UUID) -> str | None:
        try:
            letter = await self.broker.jetstream.get_last_msg(
                DEAD_LETTERS.name, f"dead.{CreatePayment.address_of(payment_id)}", direct=True
            )
        except NotFoundError:
            return None
        return str((letter.headers or {})[DEAD_REASON])

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect to the service's database."""
        address = database.url(self._settings).set(drivername="postgresql")
        connection = await asyncpg.connect(address.render_as_string(hide_password=False))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def table_locked(self) -> AsyncIterator[None]:
        async with self.sql() as connection, connection.transaction():
            await connection.execute("LOCK TABLE payments IN EXCLUSIVE MODE")
            yield


async def unhandled(broker: Broker) -> int:
    """Return the number of messages with payments that are not acknowledged."""
    keyed = await broker.jetstream.consumer_info(KEYED_PAYMENT_COMMANDS.name, PAYMENTS_CREATE_PAYMENT.name)
    batches: int = (await broker.jetstream.stream_info(PAYMENT_COMMANDS.name)).state.messages
    return batches + (keyed.num_pending or 0) + (keyed.num_ack_pending or 0)


@asynccontextmanager
async def in_memory() -> AsyncIterator[InMemory]:
    """Run the service in memory until the block ends."""
    settings = {"payment_limit": LIMIT, "delivery_attempts": 3}
    async with testing.in_memory(services=["payments"], settings={"payments": settings}) as store:
        yield InMemory(store)
        await store.settled()


@asynccontextmanager
async def on_servers(settings: Settings) -> AsyncIterator[OnServers]:
    """Run the service on real servers until the block ends."""
    async with running(create_app(settings), settings.nats_url) as broker:
        yield OnServers(settings, broker)
