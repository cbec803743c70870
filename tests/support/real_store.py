"""The whole store on real servers, with the three apps in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from faststream.asgi import AsgiFastStream

from apps.gateway.main import Gateway, create_app, make_broker
from apps.payments import main as payments_main
from apps.payments.settings import Settings as PaymentsSettings
from apps.users import main as users_main
from apps.users.settings import Settings as UsersSettings
from mkstore.testing.signing_keys import SECRET
from tests.support.payments_harness import LIMIT as PAYMENT_LIMIT
from tests.support.store import Store, client_of, running, settings
from tests.support.users_harness import low_cost

SHORT_TIMEOUT = 2.0
"""Seconds that a gateway waits for a service that a test keeps silent."""


@dataclass
class Servers:
    """Addresses of the real servers."""

    nats_url: str
    users: dict[str, str]
    payments: dict[str, str]

    def _settings(self, database: dict[str, str]) -> dict[str, Any]:
        values = {name.lower(): value for name, value in database.items()}
        return {"nats_url": self.nats_url, "db_pool_size": 5, "log_level": "ERROR", **values}

    def app(self, service: str) -> AsgiFastStream:
        """Build a service's app."""
        if service == "users":
            return users_main.create_app(low_cost(UsersSettings(jwt_secret=SECRET, **self._settings(self.users))))
        return payments_main.create_app(
            PaymentsSettings(payment_limit=PAYMENT_LIMIT, **self._settings(self.payments)),
        )

    def gateway(self, **options: Any) -> Gateway:
        """Build a gateway's app."""
        return create_app(settings(nats_url=self.nats_url, **options))


@dataclass
class _RealOutages:
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
        try:
            yield
        finally:
            await self.start(service)

    @asynccontextmanager
    async def silent(self, service: str) -> AsyncIterator[httpx.AsyncClient]:
        impatient = self.servers.gateway(request_timeout=SHORT_TIMEOUT)
        async with self.away(service), running(impatient), client_of(impatient) as http:
            deaf = await make_broker(settings(nats_url=self.servers.nats_url)).connect()
            try:
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
                await connection.execute("LOCK TABLE payments IN EXCLUSIVE MODE")  # reads still work
                yield
        finally:
            await connection.close()


@asynccontextmanager
async def on_real_servers(servers: Servers, **options: Any) -> AsyncIterator[Store]:
    """Serve with the three real apps in this process; `options` are settings of the gateway."""
    outages = _RealOutages(servers)
    try:
        await asyncio.gather(outages.start("users"), outages.start("payments"))
        app = servers.gateway(**options)
        async with running(app), client_of(app) as http:
            yield Store(http, app.brokers[0], app, outages)  # type: ignore[arg-type]
    finally:
        for service in list(outages.services):
            await outages.stop(service)
