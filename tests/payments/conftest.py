"""The payments service in memory and on real servers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from apps.payments.settings import Settings
from kit import database
from kit.messaging.broker import Broker
from mkstore.stack.servers import NatsServer
from mkstore.testing.fakes.payments import REFUSED_AMOUNT
from tests.conftest import Gear, NewDatabase
from tests.support.killable_servers import KillableServers, killable_servers
from tests.support.payments_harness import LIMIT, OnServers, PaymentsService, in_memory, on_servers


def settings_for(environment: dict[str, str], nats_url: str, **others: Any) -> Settings:
    """Return the settings for an environment, with short retry delays, and with `others` replaced."""
    values = {name.lower(): value for name, value in environment.items()}
    defaults = {"db_pool_size": 5, "payment_limit": LIMIT, "delivery_attempts": 3, "delivery_first_delay": 0.02}
    defaults |= {"delivery_failure_share": 2}  # these tests let many messages fail
    return Settings(**{"nats_url": nats_url, **defaults, **values, **others})


@pytest.fixture(scope="session")
def payments_database(new_database: NewDatabase) -> dict[str, str]:
    """Return the environment of a database that all tests share; it refuses `REFUSED_AMOUNT`."""
    environment = new_database("payments")
    with ThreadPoolExecutor(1) as thread:  # without an event loop; the caller may be inside one
        thread.submit(asyncio.run, _refuse_amount(settings_for(environment, "nats://127.0.0.1:1"))).result()
    return environment


async def _refuse_amount(settings: Settings) -> None:
    pool = database.create_engine(settings)
    async with pool.begin() as connection:
        await connection.exec_driver_sql(f"ALTER TABLE payments ADD CHECK (amount <> {REFUSED_AMOUNT})")
    await pool.dispose()


@pytest.fixture
def settings(nats_server: NatsServer, payments_database: dict[str, str]) -> Settings:
    """Return settings for the shared servers."""
    return settings_for(payments_database, nats_server.url)


@pytest.fixture
async def service(gear: Gear, request: pytest.FixtureRequest) -> AsyncIterator[PaymentsService]:
    """Run the service, in memory or on real servers."""
    if gear == "memory":
        async with in_memory() as memory:
            yield memory
    else:
        async with on_servers(request.getfixturevalue("settings")) as real:
            yield real


@pytest.fixture
async def real_service(settings: Settings) -> AsyncIterator[OnServers]:
    """Run the service on real servers only."""
    async with on_servers(settings) as running:
        yield running


@pytest.fixture(scope="module")
def module_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableServers]:
    """Run servers for the tests of one module."""
    with killable_servers(tmp_path_factory.mktemp("servers"), "payments") as servers:
        yield servers


@pytest.fixture
def servers(module_servers: KillableServers) -> KillableServers:
    """Return the module's servers, running."""
    module_servers.restart()
    return module_servers


def client_of(servers: KillableServers, broker: Broker) -> OnServers:
    """Return a client of a service that runs on `servers`."""
    return OnServers(settings_for(servers.environment, servers.nats.url), broker)
