"""The whole store as an HTTP client sees it, in memory or on real servers."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from faststream.asgi import AsgiFastStream
from starlette.types import ASGIApp

from apps.gateway.main import Gateway
from apps.gateway.settings import Settings
from contracts.users import Role, UpdateUser
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from tests.support.event_stream_client import Stream, open_event_stream
from tests.support.polling import eventually
from tests.support.users_harness import PASSWORD, new_email


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://store", timeout=60)


def api(app: Gateway) -> FastAPI:
    """Return the FastAPI app behind the gateway's middleware."""
    return app.api


@dataclass(frozen=True)
class SignedInUser:
    """A user with an access token."""

    http: httpx.AsyncClient
    user: dict[str, Any]
    token: str

    @property
    def id(self) -> str:
        return str(self.user["id"])

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        own = {"Authorization": f"Bearer {self.token}"}
        return await self.http.request(method, path, headers=own | (headers or {}), **more)

    async def get(self, path: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        return await self.request("GET", path, headers, params=params)

    async def pay(self, key: str | None = None, prefer: str | None = None, /, **body: Any) -> httpx.Response:
        """Pay 19.99 dollars by default."""
        optional = {"Idempotency-Key": key, "Prefer": prefer}
        headers = {name: value for name, value in optional.items() if value is not None}
        return await self.request("POST", "/payments", headers, json={"amount": 1999, **body})

    async def paid(self, key: str | None = None, /, **body: Any) -> dict[str, Any]:
        """Pay, and return the payment once it is recorded."""
        response = await self.pay(key, **body)
        assert response.status_code in {201, 202}, response.text
        return await self.recorded(response.json()["id"])

    async def recorded(self, payment: str) -> dict[str, Any]:
        """Return a payment once it is recorded."""

        async def read() -> dict[str, Any] | None:
            view = (await self.get(f"/payments/{payment}")).json()
            return dict(view) if view.get("status") in {"created", "rejected"} else None

        return await eventually(read) or {}


class Outages(Protocol):
    """Outages that a test can cause, each until the end of a block."""

    def away(self, service: str) -> AbstractAsyncContextManager[None]:
        """Stop a service."""

    def silent(self, service: str) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        """Let a service receive and never reply; yield a client of a gateway with a short timeout."""

    def held(self) -> AbstractAsyncContextManager[None]:
        """Let payments be accepted but not recorded."""


@dataclass
class Store:
    """A running store."""

    app: Gateway
    http: httpx.AsyncClient
    broker: Broker
    outages: Outages
    known: dict[str, SignedInUser] = field(default_factory=dict)

    async def token(self, email: str, password: str = PASSWORD) -> str:
        response = await self.http.post("/auth/sessions", json={"email": email, "password": password})
        assert response.status_code == 201, response.text
        return str(response.json()["accessToken"])

    async def sign_up(self, **body: Any) -> SignedInUser:
        response = await self.http.post("/users", json={"email": new_email(), "password": PASSWORD, **body})
        assert response.status_code == 201, response.text
        return SignedInUser(self.http, response.json(), await self.token(response.json()["email"]))

    async def admin(self) -> SignedInUser:
        """Return a new user whom an operator has made an admin."""
        caller = await self.sign_up()
        promoted = await RequestClient(self.broker).request(UpdateUser(id=UUID(caller.id), role=Role.ADMIN), timeout=15)
        return SignedInUser(self.http, promoted.model_dump(mode="json"), await self.token(promoted.email))

    async def somebody(self) -> SignedInUser:
        """Return the same user each time, for tests that change nothing."""
        if "somebody" not in self.known:
            self.known["somebody"] = await self.sign_up()
        return self.known["somebody"]

    async def some_admin(self) -> SignedInUser:
        """Return the same admin each time, for tests that change nothing."""
        if "admin" not in self.known:
            self.known["admin"] = await self.admin()
        return self.known["admin"]

    def events(self, caller: SignedInUser, last_id: str | None = None) -> AbstractAsyncContextManager[Stream]:
        return open_event_stream(self.app, caller.token, last_id)


def settings(**options: Any) -> Settings:
    return Settings(**{"rate_limit_enabled": False, "request_timeout": 15, **options})


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
