"""The payments service in memory and on real servers, with a separate database for each run."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from apps.payments.settings import Settings
from kit import database
from kit.messaging.broker import Broker
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.conftest import ROOT, Gear, NewDatabase
from tests.support.payments_fakes import REFUSED_AMOUNT
from tests.support.payments_harness import LIMIT, ForReal, InMemory, for_real, in_memory


def settings_for(environment: dict[str, str], nats_url: str, **others: Any) -> Settings:
    """Read settings as the service does, from an environment that is given."""
    values = {name.lower(): value for name, value in environment.items()}
    own = {"nats_url": nats_url, "db_pool_size": 5, "payment_limit": LIMIT}
    impatient = {"delivery_attempts": 3, "delivery_first_delay": 0.02}
    return Settings(**{**own, **impatient, **values, **others})


@pytest.fixture(scope="session")
def payments_database(new_database: NewDatabase) -> dict[str, str]:
    """Return the environment that names a database that the tests share; it refuses one amount."""
    environment = new_database("payments")
    with ThreadPoolExecutor(1) as outside:  # where no event loop runs: this one may be inside one
        outside.submit(asyncio.run, _refuse_one_amount(settings_for(environment, "nats://127.0.0.1:1"))).result()
    return environment


async def _refuse_one_amount(settings: Settings) -> None:
    pool = database.create_engine(settings)
    async with pool.begin() as connection:
        await connection.exec_driver_sql(f"ALTER TABLE payments ADD CHECK (amount <> {REFUSED_AMOUNT})")
    await pool.dispose()


@pytest.fixture
def settings(nats_server: NatsServer, payments_database: dict[str, str]) -> Settings:
    """Return the settings of a service on the servers of this run."""
    return settings_for(payments_database, nats_server.url)


AnyService = InMemory | ForReal


@pytest.fixture
async def service(gear: Gear, request: pytest.FixtureRequest) -> AsyncIterator[AnyService]:
    """Serve, in memory or for real."""
    if gear == "memory":
        async with in_memory() as memory:
            yield memory
    else:
        async with for_real(request.getfixturevalue("settings")) as real:
            yield real


@pytest.fixture
async def real_service(settings: Settings) -> AsyncIterator[ForReal]:
    """Serve for real: for what only the real thing can show."""
    async with for_real(settings) as running:
        yield running


class Own(NamedTuple):
    """Servers that a test may kill.

    They are started where the test runs and not in a thread: Linux ends a child when the thread that made it ends.
    """

    nats: NatsServer
    postgres: PostgresServer
    environment: dict[str, str]

    def client(self, broker: Broker) -> ForReal:
        return ForReal(settings_for(self.environment, self.nats.url), broker)


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """Make servers of this a module's own, and a migrated database on them."""
    folder = tmp_path_factory.mktemp("own")
    with NatsServer(folder / "nats") as nats, PostgresServer(folder / "postgres") as postgres:
        postgres.create_databases("payments_db")
        environment = {
            "NATS_URL": nats.url,
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(postgres.port),
            "DB_USER": postgres.user,
            "DB_PASSWORD": postgres.password,
            "DB_DATABASE": "payments_db",
        }
        subprocess.run(
            [sys.executable, "-m", "alembic", "-c", "apps/payments/alembic.ini", "upgrade", "head"],
            env={**os.environ, **environment},
            cwd=ROOT,
            check=True,
        )
        yield Own(nats, postgres, environment)


@pytest.fixture
def own(own_servers: Own) -> Own:
    """Return servers of this a module's own that run, whatever the test before did to them."""
    for server in (own_servers.nats, own_servers.postgres):
        if not server.is_running:
            server.start()
    return own_servers
