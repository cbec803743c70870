"""The whole store as an HTTP client sees it, in memory or on real servers."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

import httpx
from fastapi import FastAPI

from apps.gateway.main import Gateway
from apps.gateway.settings import Settings
from mkstore.testing.event_stream import EventStream, open_event_stream
from mkstore.testing.signed_in import SignedInUser, StoreClient, client_of, running

__all__ = ["Outages", "SignedInUser", "Store", "api", "client_of", "new_key", "running", "settings"]


def api(app: Gateway) -> FastAPI:
    """Return the FastAPI app behind the gateway's middleware."""
    return app.api


class Outages(Protocol):
    """Outages that a test can cause, each until the end of a block."""

    def away(self, service: str) -> AbstractAsyncContextManager[None]:
        """Stop a service."""

    def silent(self, service: str) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        """Let a service receive and never reply; yield a client of a gateway with a short timeout."""

    def held(self) -> AbstractAsyncContextManager[None]:
        """Let payments be accepted but not recorded."""


@dataclass
class Store(StoreClient):
    """A running store, in memory or on real servers."""

    app: Gateway
    outages: Outages
    known: dict[str, SignedInUser] = field(default_factory=dict)

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

    def events(self, caller: SignedInUser, last_id: str | None = None) -> AbstractAsyncContextManager[EventStream]:
        return open_event_stream(self.app, caller.token, last_id)


def settings(**options: Any) -> Settings:
    return Settings(**{"rate_limit_enabled": False, "request_timeout": 15, **options})


def new_key() -> str:
    return f"key {uuid4()}"
