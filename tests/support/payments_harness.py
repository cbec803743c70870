"""The payments service as a test uses it: in memory with a fake repository, or the real app on real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest
from faststream.nats import TestNatsBroker
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from apps.payments.deps import Dependencies
from apps.payments.main import create_app
from apps.payments.settings import Settings
from contracts.base import Event, Reply, Request
from contracts.errors import Problem
from contracts.headers import REQUEST_ID
from contracts.payments import CreatePayment, GetPayments, PaymentCreated, PaymentRejected, PaymentStatus, PaymentView
from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from contracts.users import Role, UserCreated, UserDeleted, UserUpdated, UserView
from kit import database
from kit.errors import RemoteProblem
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from tests.support.payments_fakes import FakePayments, Table
from tests.support.polling import eventually
from tests.support.service_processes import broker_of, connect

LIMIT = 1_000_000
"""A payment over this is rejected."""


def order(**said: Any) -> CreatePayment:
    """Return a command of 19.99 dollars by somebody, accepted now, unless `said` otherwise."""
    fields = {"id": uuid4(), "user_id": uuid4(), "amount": 1999, "created_at": datetime.now(UTC)}
    return CreatePayment(**fields | said)


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
    """Return the one id of an event, under which it comes again and again."""
    return f"{event.aggregate_id}-{event.aggregate_version}"


class Sent(NamedTuple):
    """An event as it went out."""

    event: PaymentCreated | PaymentRejected
    headers: Mapping[str, str]


class Client:
    """What both gears do alike."""

    broker: Broker

    async def ask(self, request: Request[Reply]) -> Reply:
        return await RequestClient(self.broker).request(request, timeout=15)

    async def refuse(self, request: Request[Any]) -> Problem:
        """Ask what must be refused, and return how it was."""
        with pytest.raises(RemoteProblem) as refused:
            await self.ask(request)
        return refused.value.problem()

    async def get(self, payment_id: UUID) -> PaymentView | None:
        """Return one payment, recorded or pending; None for an unknown id."""
        found = (await self.ask(GetPayments(ids=(payment_id,)))).payments
        return found[0] if found else None

    async def recorded(self, payment_id: UUID) -> PaymentView:
        """Return a payment once it is recorded."""

        async def look() -> PaymentView | None:
            view = await self.get(payment_id)
            return None if view is None or view.status is PaymentStatus.PENDING else view

        view = await eventually(look)
        assert view is not None
        return view


def fake_dependencies(
    open_payments: Callable[[], Any], find_pending: Callable[[UUID], Awaitable[CreatePayment | None]]
) -> Dependencies:
    """Return dependencies on a fake repository, with the tests' limit."""
    return Dependencies(open_payments, find_pending, LIMIT)


class InMemory(Client):
    """Serves from a dictionary; a command waits here until its handler has carried it out."""

    def __init__(self) -> None:
        self.table = Table()
        self.waiting: dict[UUID, CreatePayment] = {}
        self._given_up: dict[UUID, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        open_payments: Any = partial(FakePayments, self.table)
        self.app = create_app(Settings(), fake_dependencies(open_payments, self._find_pending))
        self.broker = broker_of(self.app)

    async def send(self, *orders: CreatePayment, request_id: str = "") -> None:
        for each in orders:
            self.waiting.setdefault(each.id, each)
            task = asyncio.create_task(self._hand_out(each, request_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def tell(self, *told: UserEvent) -> None:
        for event in told:
            with suppress(Exception):  # in memory what a handler raises is raised here
                await self.broker.publish(
                    event, event.subject, headers={"ce-id": event_id(event)}, stream=USER_EVENTS.name
                )

    async def payer(self, user_id: UUID) -> tuple[int, str] | None:
        payer = self.table.payers.get(user_id)
        return None if payer is None else (payer.version, payer.state)

    async def told(self, payment_id: UUID) -> list[Sent]:
        return [
            Sent(event, origin.headers())
            for event, origin in self.table.events
            if isinstance(event, PaymentCreated | PaymentRejected) and event.payment.id == payment_id
        ]

    async def dead(self, payment_id: UUID) -> str | None:
        return self._given_up.get(payment_id)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        self.table.unlocked.clear()
        yield
        self.table.unlocked.set()

    async def end(self) -> None:
        await asyncio.gather(*self._tasks)

    async def _find_pending(self, payment_id: UUID) -> CreatePayment | None:
        return self.waiting.get(payment_id)

    async def _hand_out(self, command: CreatePayment, request_id: str) -> None:
        headers = {REQUEST_ID: request_id} if request_id else {}
        try:
            await self.broker.publish(command, command.address, headers=headers, stream=PAYMENT_COMMANDS.name)
        except Exception as error:  # noqa: BLE001 - in memory what a handler raises is raised here
            self._given_up[command.id] = type(error).__name__
        else:
            self.waiting.pop(command.id, None)


_EVENTS: dict[str, type[PaymentCreated | PaymentRejected]] = {
    event.subject: event for event in (PaymentCreated, PaymentRejected)
}


class ForReal(Client):
    """The real app, asked from outside."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self.broker = broker
        self._settings = settings

    async def send(self, *orders: CreatePayment, request_id: str = "") -> None:
        headers = {"content-type": "application/json"} | ({REQUEST_ID: request_id} if request_id else {})
        await asyncio.gather(
            *(
                self.broker.jetstream.publish(
                    each.address, each.model_dump_json().encode(), headers=headers, timeout=15
                )
                for each in orders
            )
        )

    async def tell(self, *told: UserEvent) -> None:
        for event in told:
            await self.broker.jetstream.publish(
                event.subject, event.model_dump_json().encode(), headers={"ce-id": event_id(event)}, timeout=15
            )

    async def payer(self, user_id: UUID) -> tuple[int, str] | None:
        async with self.sql() as connection:
            found = await connection.fetchrow("SELECT version, state FROM payers WHERE id = $1", user_id)
        return None if found is None else (found["version"], found["state"])

    async def told(self, payment_id: UUID) -> list[Sent]:
        return [sent for sent in await all_events(self.broker) if sent.event.payment.id == payment_id]

    async def dead(self, payment_id: UUID) -> str | None:
        try:
            letter = await self.broker.jetstream.get_last_msg(
                DEAD_LETTERS.name, f"dead.{CreatePayment.address_of(payment_id)}", direct=True
            )
        except NotFoundError:
            return None
        return str((letter.headers or {})["Dead-Reason"])

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect to the service's own database."""
        address = database.url(self._settings).set(drivername="postgresql")
        connection = await asyncpg.connect(address.render_as_string(hide_password=False))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Lock the table against writes; reads continue."""
        async with self.sql() as connection, connection.transaction():
            await connection.execute("LOCK TABLE payments IN EXCLUSIVE MODE")
            yield


async def all_events(broker: Broker) -> list[Sent]:
    """Return every event of a payment that is in the stream, in order."""
    count = (await broker.jetstream.stream_info(PAYMENT_EVENTS.name)).state.messages
    reader = await broker.jetstream.subscribe(
        PAYMENT_EVENTS.subjects[0],
        stream=PAYMENT_EVENTS.name,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    found = []
    for _ in range(count):
        message = await reader.next_msg(timeout=5)
        event: Event = _EVENTS[message.subject].model_validate_json(message.data)
        assert isinstance(event, PaymentCreated | PaymentRejected)
        found.append(Sent(event, dict(message.headers or {})))
    await reader.unsubscribe()
    return found


@asynccontextmanager
async def in_memory() -> AsyncIterator[InMemory]:
    """Serve from a dictionary."""
    service = InMemory()
    async with TestNatsBroker(service.broker):
        yield service
        await service.end()


@asynccontextmanager
async def for_real(settings: Settings) -> AsyncIterator[ForReal]:
    """Serve with the real app, until the block ends."""
    app = create_app(settings)
    async with app.lifespan_context(), connect(settings.nats_url) as broker:
        await app.start()
        await broker_of(app).check()  # a round trip: until then the subscriptions may not have reached the server
        try:
            yield ForReal(settings, broker)
        finally:
            await app.stop()
