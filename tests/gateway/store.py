"""The whole store as an HTTP client sees it: in memory with fakes, or the three real apps on real servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID, uuid4

import asyncpg
import httpx
from fastapi import FastAPI
from faststream.asgi import AsgiFastStream
from faststream.nats import TestNatsBroker
from pydantic import SecretStr
from starlette.types import ASGIApp

from apps.gateway.main import Gateway, create_app, make_broker
from apps.gateway.settings import Settings
from apps.payments import commands as payments_commands
from apps.payments import main as payments_main
from apps.payments import requests as payments_requests
from apps.payments.settings import Settings as PaymentsSettings
from apps.users import main as users_main
from apps.users.keys import load_signer
from apps.users.passwords import Passwords
from apps.users.requests import router as users_router
from apps.users.settings import Settings as UsersSettings
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_COMMANDS
from contracts.users import Role, UpdateUser
from kit.asking import ask
from kit.broker import Broker
from kit.gathering import Gather
from kit.telemetry import Trace
from tests.gateway.fakes import FakeCommands, FakeHistory, MemoryBroker, Outbox, RelayedPayments, RelayedUsers
from tests.gateway.listening import Stream, listening
from tests.payments.fakes import Table
from tests.payments.serving import LIMIT as PAYMENT_LIMIT
from tests.users.fakes import FakeSigningKeys
from tests.users.fakes import Store as UsersStore
from tests.users.serving import CHEAP, PASSWORD, cheap, new_email
from tests.waiting import eventually

SECRET = SecretStr("a secret of the tests")
IMPATIENT = 1.0
"""Seconds that a gateway waits for a service of which a test knows that it is silent."""


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://store", timeout=60)


def api(app: Gateway) -> FastAPI:
    """Return what is behind the gateway's middlewares."""
    inner: Any = app.http
    while not isinstance(inner, FastAPI):
        inner = inner._app
    return inner


@dataclass(frozen=True)
class Caller:
    """Somebody with a token."""

    http: httpx.AsyncClient
    user: dict[str, Any]
    token: str

    @property
    def id(self) -> str:
        return str(self.user["id"])

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        own = {"Authorization": f"Bearer {self.token}"}
        return await self.http.request(method, path, headers=own | (headers or {}), **more)

    async def get(self, path: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        return await self.ask("GET", path, headers, params=params)

    async def pay(self, key: str | None = None, prefer: str | None = None, /, **body: Any) -> httpx.Response:
        """Pay 19.99 dollars unless `body` says otherwise."""
        said = {"Idempotency-Key": key, "Prefer": prefer}
        headers = {name: value for name, value in said.items() if value is not None}
        return await self.ask("POST", "/payments", headers, json={"amount": 1999, **body})

    async def paid(self, key: str | None = None, /, **said: Any) -> dict[str, Any]:
        """Pay, and return the payment once it is recorded."""
        answer = await self.pay(key, **said)
        assert answer.status_code in {201, 202}, answer.text
        return await self.recorded(answer.json()["id"])

    async def recorded(self, payment: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found = (await self.get(f"/payments/{payment}")).json()
            return dict(found) if found.get("status") in {"created", "rejected"} else None

        return await eventually(look) or {}


class Outages(Protocol):
    """What a test can take away from a store, each until the end of a block."""

    def away(self, service: str) -> AbstractAsyncContextManager[None]:
        """Stop a service; nobody answers."""

    def silent(self, service: str) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        """Let a service listen and never answer; yields a client of a gateway that does not wait long."""

    def held(self) -> AbstractAsyncContextManager[None]:
        """Let payments be accepted and not be recorded."""


@dataclass
class Store:
    """A running store."""

    app: Gateway
    http: httpx.AsyncClient
    broker: Broker
    outages: Outages
    known: dict[str, Caller] = field(default_factory=dict)

    async def token(self, email: str, password: str = PASSWORD) -> str:
        form = {"grant_type": "password", "username": email, "password": password}
        answer = await self.http.post("/auth/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def sign_up(self, **said: Any) -> Caller:
        answer = await self.http.post("/users", json={"email": new_email(), "password": PASSWORD, **said})
        assert answer.status_code == 201, answer.text
        return Caller(self.http, answer.json(), await self.token(answer.json()["email"]))

    async def admin(self) -> Caller:
        """Return somebody whom an operator has made an admin."""
        caller = await self.sign_up()
        promoted = await ask(self.broker, UpdateUser(id=UUID(caller.id), role=Role.ADMIN), deadline=15)
        return Caller(self.http, promoted.model_dump(mode="json"), await self.token(promoted.email))

    async def somebody(self) -> Caller:
        """Return the same caller each time, for tests that change nothing."""
        if "somebody" not in self.known:
            self.known["somebody"] = await self.sign_up()
        return self.known["somebody"]

    async def some_admin(self) -> Caller:
        """Return the same admin each time, for tests that change nothing."""
        if "admin" not in self.known:
            self.known["admin"] = await self.admin()
        return self.known["admin"]

    def events(self, caller: Caller, last_id: str | None = None) -> AbstractAsyncContextManager[Stream]:
        return listening(self.app, caller.token, last_id)


def settings(**said: Any) -> Settings:
    return Settings(**{"rate_limit_enabled": False, "request_timeout": 15, **said})


@asynccontextmanager
async def running(app: AsgiFastStream) -> AsyncIterator[None]:
    """Run an app until the end of the block, as its server does."""
    async with app.lifespan_context():
        await app.start()
        try:
            yield
        finally:
            await app.stop()


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
        "record": Gather(partial(payments_commands.record_all, open_payments, PAYMENT_LIMIT)),
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


@dataclass
class Servers:
    """Where the real servers are."""

    nats_url: str
    users: dict[str, str]
    payments: dict[str, str]

    def _settings(self, database: dict[str, str]) -> dict[str, Any]:
        values = {name.lower(): value for name, value in database.items()}
        return {"nats_url": self.nats_url, "db_pool_size": 5, "log_level": "ERROR", **values}

    def app(self, service: str) -> AsgiFastStream:
        """Build a service's app."""
        if service == "users":
            return users_main.create_app(cheap(UsersSettings(jwt_secret=SECRET, **self._settings(self.users))))
        return payments_main.create_app(
            PaymentsSettings(payment_limit=PAYMENT_LIMIT, **self._settings(self.payments)),
        )

    def gateway(self, **said: Any) -> Gateway:
        """Build a gateway's app."""
        chosen = settings(nats_url=self.nats_url, **said)
        return create_app(chosen, make_broker(chosen))


@dataclass
class _ForReal:
    servers: Servers
    services: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict)

    async def start(self, service: str) -> None:
        self.services[service] = contextlib.AsyncExitStack()
        await self.services[service].enter_async_context(running(self.servers.app(service)))

    async def stop(self, service: str) -> None:
        if stack := self.services.pop(service, None):
            await stack.aclose()

    @asynccontextmanager
    async def away(self, service: str) -> AsyncIterator[None]:
        await self.stop(service)
        yield
        await self.start(service)

    @asynccontextmanager
    async def silent(self, service: str) -> AsyncIterator[httpx.AsyncClient]:
        impatient = self.servers.gateway(request_timeout=IMPATIENT)
        async with self.away(service), running(impatient), client_of(impatient) as http:
            deaf = await make_broker(settings(nats_url=self.servers.nats_url)).connect()
            try:
                await deaf.subscribe(f"{service}.get", service)
                await deaf.subscribe(f"{service}.get_many", service)
                await deaf.subscribe(f"{service}.jwks", service)
                await deaf.flush()
                yield http
            finally:
                await deaf.close()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        at = self.servers.payments
        connection = await asyncpg.connect(
            host=at["DB_HOST"],
            port=int(at["DB_PORT"]),
            user=at["DB_USER"],
            password=at["DB_PASSWORD"],
            database=at["DB_DATABASE"],
        )
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE payments IN EXCLUSIVE MODE")  # reading goes on
                yield
        finally:
            await connection.close()


@asynccontextmanager
async def for_real(servers: Servers, **said: Any) -> AsyncIterator[Store]:
    """Serve with the three real apps in this process; `said` are settings of the gateway."""
    outages = _ForReal(servers)
    try:
        await asyncio.gather(outages.start("users"), outages.start("payments"))
        app = servers.gateway(**said)
        async with running(app), client_of(app) as http:
            yield Store(app, http, app.brokers[0], outages)  # type: ignore[arg-type]
    finally:
        for service in list(outages.services):
            await outages.stop(service)


NewStore = Callable[..., AbstractAsyncContextManager[Store]]


def new_key() -> str:
    return f"key {uuid4()}"
