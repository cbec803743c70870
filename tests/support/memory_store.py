"""The whole store in memory: the three services on TestNatsBroker, with fakes for streams and databases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from faststream.nats import TestNatsBroker

from apps.gateway.main import create_app, create_dependencies
from apps.payments import main as payments_main
from apps.payments.settings import Settings as PaymentsSettings
from apps.users import main as users_main
from apps.users.settings import Settings as UsersSettings
from contracts.keys import GetKeys, PublicKeys
from contracts.payments import CreatePayment
from kit.messaging.client import RequestClient
from kit.runtime.tasks import cancel_and_wait
from kit.runtime.tracing import Trace
from tests.support import payments_harness, users_harness
from tests.support.gateway_fakes import FakeHistory, FakePaymentQueue, MemoryBroker, Outbox, no_stored_keys
from tests.support.payment_commands import published
from tests.support.payments_fakes import FakePayments, Table
from tests.support.service_processes import broker_of
from tests.support.signing_keys import SECRET
from tests.support.store import Store, client_of, running, settings
from tests.support.users_fakes import FakeUsers
from tests.support.users_fakes import Store as UsersStore


@asynccontextmanager
async def in_background(*work: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield
        assert not any(task.done() for task in tasks), tasks
    finally:
        await cancel_and_wait(tasks)


@dataclass
class _MemoryOutages:
    broker: MemoryBroker
    queue: FakePaymentQueue
    http: httpx.AsyncClient

    @asynccontextmanager
    async def away(self, service: str) -> AsyncIterator[None]:
        self.broker.away.add(service)
        async with self.held() if service == "payments" else contextlib.nullcontext():
            yield
        self.broker.away.discard(service)

    @asynccontextmanager
    async def silent(self, service: str) -> AsyncIterator[httpx.AsyncClient]:
        self.broker.silent.add(service)
        yield self.http
        self.broker.silent.discard(service)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        self.queue.consuming.clear()
        yield
        self.queue.consuming.set()


class MemoryStore(Store):
    """A store in memory, with its fakes."""

    broker: MemoryBroker
    queue: FakePaymentQueue
    outbox: Outbox


@asynccontextmanager
async def in_memory(**options: Any) -> AsyncIterator[MemoryStore]:
    """Serve from dictionaries; `options` are settings of the gateway."""
    broker = MemoryBroker()
    history = FakeHistory()
    outbox = Outbox(broker, history)
    users = UsersStore()

    async def consume(command: CreatePayment, origin: Trace) -> None:
        headers = {"content-type": "application/json"} | origin.headers()
        message, stream = published(command, origin)
        await broker.publish(message, message.address, headers=headers, stream=stream.name)

    queue = FakePaymentQueue(consume)
    gateway_settings = settings(**options)
    app = create_app(gateway_settings, create_dependencies(gateway_settings, broker, queue, history, no_stored_keys))
    app.deps.revocations.caught_up.set()  # nothing is stored before the start

    async def publish(subject: str, body: bytes) -> None:
        await broker.publish(body, subject, headers={"content-type": "application/json"})

    users_deps = users_harness.fake_dependencies(users, partial(FakeUsers, users, outbox.add), publish)
    users_app = users_main.create_app(users_harness.low_cost(UsersSettings(jwt_secret=SECRET)), users_deps)
    open_payments = partial(FakePayments, Table(), outbox.add)
    payments_deps = payments_harness.fake_dependencies(open_payments, queue.find)
    payments_app = payments_main.create_app(PaymentsSettings(), payments_deps)
    brokers = (broker, broker_of(users_app), broker_of(payments_app))
    try:
        await users_deps.keys.load()
        await users_deps.keys.look()
        async with TestNatsBroker(*brokers), running(app), client_of(app) as http:
            store = MemoryStore(app, http, broker, _MemoryOutages(broker, queue, http))
            store.queue, store.outbox = queue, outbox
            keys = await RequestClient(broker).request(GetKeys())
            await publish(PublicKeys.subject, PublicKeys(keys=keys.keys).model_dump_json().encode())
            async with in_background(outbox.relay(), queue.work()):
                yield store
    finally:
        users_deps.passwords.close()
