"""The whole store as an HTTP client sees it, whatever it runs on."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from faststream.asgi import AsgiFastStream
from pydantic import SecretStr
from starlette.types import ASGIApp

from apps.gateway.main import Gateway
from apps.gateway.settings import Settings
from contracts.users import Role, UpdateUser
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from tests.support.event_stream_client import Stream, listening
from tests.support.polling import eventually
from tests.support.users_harness import PASSWORD, new_email

SECRET = SecretStr("a secret of the tests")


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://store", timeout=60)


def api(app: Gateway) -> FastAPI:
    """Return the FastAPI app behind the gateway's middleware."""
    return app.api


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
        promoted = await RequestClient(self.broker).request(UpdateUser(id=UUID(caller.id), role=Role.ADMIN), timeout=15)
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


def new_key() -> str:
    return f"key {uuid4()}"
