"""The store as an HTTP client sees it: sign-up, sign-in, and requests of a user who is signed in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
from faststream.asgi import AsgiFastStream
from starlette.types import ASGIApp

from contracts.users import Role, UpdateUser
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from mkstore.testing.polling import eventually

PASSWORD = "correct horse battery"  # noqa: S105 - of users that exist only in tests


def new_email() -> str:
    """Return an email address that no other test uses."""
    return f"{uuid4().hex}@example.com"


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """Return a client that calls an application in this process; an error of it is a response with status 500."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://store", timeout=60)


@asynccontextmanager
async def running(app: AsgiFastStream) -> AsyncIterator[None]:
    """Run an app until the end of the block, as its server does."""
    async with app.lifespan_context():
        await app.start()
        try:
            yield
        finally:
            await app.stop()


@dataclass(frozen=True)
class SignedInUser:
    """A user with an access token."""

    http: httpx.AsyncClient
    user: dict[str, Any]
    """The user as `POST /users` returned it."""
    token: str

    @property
    def id(self) -> str:
        """The user's id."""
        return str(self.user["id"])

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Send a request with the token; `more` are arguments of httpx."""
        own = {"Authorization": f"Bearer {self.token}"}
        return await self.http.request(method, path, headers=own | (headers or {}), **more)

    async def get(self, path: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        """Send a GET request with query parameters."""
        return await self.request("GET", path, headers, params=params)

    async def pay(self, key: str | None = None, prefer: str | None = None, /, **body: Any) -> httpx.Response:
        """Pay 19.99 dollars by default, with an `Idempotency-Key` and a `Prefer` header if they are given."""
        optional = {"Idempotency-Key": key, "Prefer": prefer}
        headers = {name: value for name, value in optional.items() if value is not None}
        return await self.request("POST", "/payments", headers, json={"amount": 1999, **body})

    async def paid(self, key: str | None = None, /, **body: Any) -> dict[str, Any]:
        """Pay, and return the payment once it is recorded."""
        response = await self.pay(key, **body)
        _expect(response, 201, 202)
        return await self.recorded(response.json()["id"])

    async def recorded(self, payment: str) -> dict[str, Any]:
        """Return a payment once it is recorded."""

        async def read() -> dict[str, Any] | None:
            view = (await self.get(f"/payments/{payment}")).json()
            return dict(view) if view.get("status") in {"created", "rejected"} else None

        return await eventually(read) or {}


@dataclass
class StoreClient:
    """A running store: its HTTP API, and NATS as an operator uses it."""

    http: httpx.AsyncClient
    broker: Broker

    async def token(self, email: str, password: str = PASSWORD) -> str:
        """Sign in, and return the access token."""
        response = await self.http.post("/auth/sessions", json={"email": email, "password": password})
        _expect(response, 201)
        return str(response.json()["accessToken"])

    async def sign_up(self, **body: Any) -> SignedInUser:
        """Create a user and sign in; `body` are fields of `POST /users`."""
        response = await self.http.post("/users", json={"email": new_email(), "password": PASSWORD, **body})
        _expect(response, 201)
        return SignedInUser(self.http, response.json(), await self.token(response.json()["email"]))

    async def admin(self) -> SignedInUser:
        """Return a new user whom an operator has made an admin."""
        caller = await self.sign_up()
        promoted = await RequestClient(self.broker).request(UpdateUser(id=UUID(caller.id), role=Role.ADMIN), timeout=15)
        return SignedInUser(self.http, promoted.model_dump(mode="json"), await self.token(promoted.email))


def _expect(response: httpx.Response, *statuses: int) -> None:
    if response.status_code not in statuses:
        raise AssertionError(f"{response.request.url}: {response.status_code} {response.text}")
