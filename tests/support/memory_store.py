"""The whole store in memory: the three services on one broker that is none, with fakes for what keeps things."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
from faststream.nats import TestNatsBroker

from apps.gateway.main import create_app
from apps.payments import commands as payments_commands
from apps.payments import requests as payments_requests
from apps.users.keys import load_signer
from apps.users.passwords import Passwords
from apps.users.requests import router as users_router
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_COMMANDS
from kit.batching import BatchLoader
from kit.runtime.tracing import Trace
from tests.support.gateway_fakes import FakeCommands, FakeHistory, MemoryBroker, Outbox, RelayedPayments, RelayedUsers
from tests.support.payments_fakes import Table
from tests.support.payments_harness import LIMIT as PAYMENT_LIMIT
from tests.support.store import SECRET, Store, client_of, running, settings
from tests.support.users_fakes import FakeSigningKeys
from tests.support.users_fakes import Store as UsersStore
from tests.support.users_harness import CHEAP


@asynccontextmanager
async def in_background(*work: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield
        assert not any(task.done() for task in tasks), tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@dataclass
class _InMemory:
    broker: MemoryBroker
    commands: FakeCommands
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
        self.commands.taken.clear()
        yield
        self.commands.taken.set()


class MemoryStore(Store):
    """A store in memory, with a view of its fakes."""

    broker: MemoryBroker
    commands: FakeCommands
    outbox: Outbox


@asynccontextmanager
async def in_memory(**said: Any) -> AsyncIterator[MemoryStore]:
    """Serve from dictionaries; `said` are settings of the gateway."""
    broker = MemoryBroker()
    history = FakeHistory()
    outbox = Outbox(broker, history)
    users = UsersStore()

    async def take(command: CreatePayment, origin: Trace) -> None:
        headers = {"content-type": "application/json"} | origin.headers()
        body = command.model_dump_json().encode()
        await broker.publish(body, command.address, headers=headers, stream=PAYMENT_COMMANDS.name)

    commands = FakeCommands(take)
    app = create_app(settings(**said), broker, commands, history)
    broker.include_routers(users_router, payments_requests.router, payments_commands.router)
    open_keys: Any = partial(FakeSigningKeys, users)
    open_payments: Any = partial(RelayedPayments, Table(), outbox)
    passwords = Passwords(**CHEAP, threads=2)
    open_users = partial(RelayedUsers, users, outbox)
    given = {
        "open_users": open_users,
        "read_users": open_users,
        "open_signing_keys": open_keys,
        "read_signing_keys": open_keys,
        "free_passwords": passwords.free,
        "signer": await load_signer(open_keys, SECRET, timedelta(minutes=15)),
        "open_payments": open_payments,
        "find_waiting": commands.waiting,
        "record": BatchLoader(partial(payments_commands.record_all, open_payments, PAYMENT_LIMIT)),
    }
    for name, value in given.items():
        broker.context.set_global(name, value)
    try:
        async with TestNatsBroker(broker), running(app), client_of(app) as http:
            store = MemoryStore(app, http, broker, _InMemory(broker, commands, http))
            store.commands, store.outbox = commands, outbox
            async with in_background(outbox.relay(), commands.work()):
                yield store
    finally:
        passwords.close()
